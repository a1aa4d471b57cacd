package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// closed keeps every connection busy.
func closed(o options, d *dialer) error {
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
	var next atomic.Int64
	var gathered tallies
	var done sync.WaitGroup
	start := time.Now()
	end := start.Add(o.duration)
	for _, one := range clients {
		own := gathered.one()
		done.Add(1)
		go func() {
			defer done.Done()
			for {
				number := int(next.Add(1)) - 1
				began := time.Now()
				if o.count > 0 && number >= o.count || o.count == 0 && began.After(end) {
					return
				}
				status, err := one.do(o.requests[number%len(o.requests)])
				own.add(status, err, time.Since(began))
			}
		}()
	}
	done.Wait()
	return emit(gathered.report(time.Since(start), clients[0]))
}
