package main

import (
	"context"
	"io"
	"math"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// One of four ways not to get done, by turns: a connection that says nothing, half a head, a body that stops, and one
// that drips.
var ways = []string{"silent", "half a head", "stalled body", "dripping body"}

// stalled keeps so many connections in such a state; one that the server ends is opened again.
func stalled(o options, d *dialer) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var held, opened atomic.Int64
	var ended sync.Map
	var done sync.WaitGroup
	pace := time.NewTicker(time.Duration(float64(time.Second) / o.rate))
	defer pace.Stop()
	for number := range o.connections {
		done.Add(1)
		go func() {
			defer done.Done()
			way := ways[number%len(ways)]
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				opened.Add(1)
				how := o.stall(ctx, d, way, o.requests[number%len(o.requests)], &held)
				if ctx.Err() == nil {
					count, _ := ended.LoadOrStore(way+": "+how, new(atomic.Int64))
					count.(*atomic.Int64).Add(1)
				}
			}
		}()
	}
	for held.Load() < int64(o.connections)*98/100 {
		time.Sleep(10 * time.Millisecond)
	}
	lowest := make(chan int64)
	go func() { lowest <- watch(ctx, &held) }()
	if err := awaitStart(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	stop()
	done.Wait()
	ends := map[string]int64{}
	ended.Range(func(how, count any) bool {
		ends[how.(string)] = count.(*atomic.Int64).Load()
		return true
	})
	return emit(map[string]any{"opened": opened.Load(), "fewest_held": <-lowest, "ended_by_server": ends})
}

func watch(ctx context.Context, held *atomic.Int64) int64 {
	lowest := int64(math.MaxInt64)
	for ctx.Err() == nil {
		lowest = min(lowest, held.Load())
		time.Sleep(10 * time.Millisecond)
	}
	return lowest
}

// stall holds one connection until the server ends it, and says how that looked.
func (o *options) stall(ctx context.Context, d *dialer, way string, r request, held *atomic.Int64) string {
	connection, err := o.stallable(d, way)
	if err != nil {
		return "refused:" + plainText(err)
	}
	defer connection.Close()
	leave := context.AfterFunc(ctx, func() { connection.Close() })
	defer leave()
	connection.SetDeadline(time.Now().Add(2 * time.Minute))
	if way != "silent" {
		head := "PUT " + r.path + " HTTP/1.1\r\nHost: media\r\nAuthorization: Bearer " + o.token
		if strings.HasSuffix(way, "body") {
			head += "\r\nContent-Length: " + strconv.Itoa(o.bodyBytes) + "\r\n\r\nzzzz"
		}
		if _, err := io.WriteString(connection, head); err != nil {
			return "cut:" + plainText(err)
		}
	}
	held.Add(1)
	defer held.Add(-1)
	if way == "dripping body" {
		over := make(chan struct{})
		defer close(over)
		go drip(connection, over)
	}
	answer := make([]byte, 4_096)
	read, err := connection.Read(answer)
	if err != nil {
		return "cut:" + plainText(err)
	}
	return string(answer[:min(read, 12)])
}

func (o *options) stallable(d *dialer, way string) (net.Conn, error) {
	if way == "silent" {
		return d.plain()
	}
	connection, err := d.tls()
	if err != nil {
		return nil, err
	}
	return connection, nil
}

func drip(connection net.Conn, over <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
			if _, err := io.WriteString(connection, "z"); err != nil {
				return
			}
		}
	}
}
