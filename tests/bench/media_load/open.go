package main

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"syscall"
	"time"
)

type job struct {
	request request
	due     time.Time
}

// open sends requests at random instants, as from many callers who know nothing of each other (Poisson). A latency
// runs from the instant a request was due: time spent waiting for a free connection counts.
func open(o options, d *dialer) error {
	content := body(o.bodyBytes)
	clients := make([]*client, o.connections)
	for number := range clients {
		clients[number] = o.client(d, content)
	}
	if err := warm(clients, o.requests); err != nil {
		return err
	}
	if err := awaitStart(); err != nil {
		return err
	}
	var gathered tallies
	var done sync.WaitGroup
	inboxes := make([]chan job, len(clients))
	idle := make(chan int, len(clients))
	for number, one := range clients {
		inbox, own := make(chan job), gathered.one()
		inboxes[number] = inbox
		done.Add(1)
		idle <- number
		go func() {
			defer done.Done()
			for asked := range inbox {
				status, err := one.do(asked.request)
				own.add(status, err, time.Since(asked.due))
				idle <- number
			}
		}()
	}
	start := time.Now()
	late := o.dispatch(start, idle, inboxes)
	for _, inbox := range inboxes {
		close(inbox)
	}
	done.Wait()
	report := gathered.report(time.Since(start), clients[0])
	report["dispatched_late_ms"] = float64(late.Microseconds()) / 1_000
	return emit(report)
}

// dispatch hands out jobs when they are due; the longest it was late with one is returned.
func (o *options) dispatch(start time.Time, idle <-chan int, inboxes []chan job) time.Duration {
	// Go's own timers wake on whole milliseconds.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	random := rand.New(rand.NewPCG(1, 2))
	var late time.Duration
	due := start
	for number := 0; due.Sub(start) < o.duration; number++ {
		due = due.Add(time.Duration(random.ExpFloat64() / o.rate * float64(time.Second)))
		for wait := time.Until(due); wait > 0; wait = time.Until(due) {
			pause := syscall.NsecToTimespec(int64(wait))
			syscall.Nanosleep(&pause, nil)
		}
		late = max(late, time.Since(due))
		inboxes[<-idle] <- job{o.requests[number%len(o.requests)], due}
	}
	return late
}
