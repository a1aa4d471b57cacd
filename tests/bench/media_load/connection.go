package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const patience = 30 * time.Second

// dialer opens connections that check the server's certificate.
type dialer struct {
	address string
	config  *tls.Config
}

func newDialer(address, roots string) (*dialer, error) {
	pem, err := os.ReadFile(roots)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", roots)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{
		RootCAs:    pool,
		ServerName: host,
		MinVersion: tls.VersionTLS12,
		// One curve and, by this machine's preference, one cipher: every server is measured with the same.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	return &dialer{address, config}, nil
}

func (d *dialer) plain() (net.Conn, error) {
	return net.DialTimeout("tcp", d.address, patience)
}

func (d *dialer) tls() (*tls.Conn, error) {
	plain, err := d.plain()
	if err != nil {
		return nil, err
	}
	secure := tls.Client(plain, d.config)
	secure.SetDeadline(time.Now().Add(patience))
	if err := secure.Handshake(); err != nil {
		plain.Close()
		return nil, err
	}
	return secure, nil
}

// client has one connection at a time and one request on it at a time.
type client struct {
	dialer *dialer
	method string
	token  string
	body   []byte
	conn   *tls.Conn
	head   []byte
	buffer []byte
}

func (o *options) client(d *dialer, content []byte) *client {
	return &client{dialer: d, method: o.method, token: o.token, body: content, buffer: make([]byte, 64*1024)}
}

var errCut = errors.New("connection ended in an answer")

// do returns the status; 0 with an error where there is none. A connection that failed is opened again by the next.
func (c *client) do(r request) (status int, err error) {
	if c.conn == nil {
		if c.conn, err = c.dialer.tls(); err != nil {
			return 0, err
		}
	}
	c.conn.SetDeadline(time.Now().Add(patience))
	if status, err = c.exchange(r); err != nil {
		c.close()
	}
	return status, err
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.NetConn().Close()
		c.conn = nil
	}
}

func (c *client) exchange(r request) (int, error) {
	head := append(c.head[:0], c.method...)
	head = append(head, ' ')
	head = append(head, r.path...)
	head = append(head, " HTTP/1.1\r\nHost: media\r\n"...)
	if c.method == "PUT" {
		head = append(head, "Authorization: Bearer "...)
		head = append(head, c.token...)
		head = append(head, "\r\nContent-Length: "...)
		head = strconv.AppendInt(head, int64(len(c.body)), 10)
		if r.metadata != "" {
			head = append(head, "\r\nX-Livedub-Metadata: "...)
			head = append(head, r.metadata...)
		}
		head = append(head, "\r\n"...)
	}
	c.head = append(head, "\r\n"...)
	if _, err := c.conn.Write(c.head); err != nil {
		return 0, err
	}
	if c.method == "PUT" {
		if _, err := c.conn.Write(c.body); err != nil {
			return 0, err
		}
	}
	return c.answer()
}

var (
	headEnd = []byte("\r\n\r\n")
	length  = []byte("\r\nContent-Length: ")
	closes  = []byte("\r\nConnection: close")
)

func (c *client) answer() (int, error) {
	held, end := 0, -1
	for end < 0 {
		if held == len(c.buffer) {
			return 0, fmt.Errorf("the answer's head is longer than %d bytes", held)
		}
		read, err := c.conn.Read(c.buffer[held:])
		if err != nil {
			return 0, err
		}
		held += read
		end = bytes.Index(c.buffer[:held], headEnd)
	}
	head := c.buffer[:end+2]
	if len(head) < 12 {
		return 0, fmt.Errorf("the answer is no HTTP: %q", head)
	}
	status, err := strconv.Atoi(string(head[9:12]))
	if err != nil {
		return 0, err
	}
	due, err := contentLength(head)
	if err != nil {
		return 0, err
	}
	last := bytes.Contains(head, closes)
	for left := due - (held - end - len(headEnd)); left > 0; {
		read, err := c.conn.Read(c.buffer)
		left -= read
		if err != nil && left > 0 {
			return 0, errCut
		}
	}
	if last {
		c.close()
	}
	return status, nil
}

func contentLength(head []byte) (int, error) {
	at := bytes.Index(head, length)
	if at < 0 {
		return 0, nil
	}
	value := head[at+len(length):]
	return strconv.Atoi(string(value[:bytes.IndexByte(value, '\r')]))
}

// warm opens every client's connection, eight at a time, and makes one request on each.
func warm(clients []*client, requests []request) error {
	if clients[0].method == "PUT" {
		// Writing in order to warm up would be part of the work.
		requests = []request{{path: "/health"}}
	}
	failures := make(chan error, len(clients))
	slots := make(chan struct{}, 8)
	for number, one := range clients {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			method := one.method
			one.method = "GET"
			status, err := one.do(requests[number%len(requests)])
			one.method = method
			if err == nil && status != 200 {
				err = fmt.Errorf("warming up was answered %d", status)
			}
			failures <- err
		}()
	}
	for range clients {
		if err := <-failures; err != nil {
			return err
		}
	}
	return nil
}

// tally gathers what came of requests. Each client has its own; they are joined at the end.
type tally struct {
	latencies []time.Duration
	statuses  map[string]int
}

func newTally() *tally {
	return &tally{statuses: map[string]int{}}
}

func (t *tally) add(status int, err error, took time.Duration) {
	t.latencies = append(t.latencies, took)
	if err != nil {
		t.statuses[plainText(err)]++
		return
	}
	t.statuses[strconv.Itoa(status)]++
}

// plainText leaves out the ports, or every error would be one of its kind.
func plainText(err error) string {
	text := err.Error()
	return text[strings.LastIndex(text, ": ")+1:]
}

type tallies struct {
	lock sync.Mutex
	all  []*tally
}

func (t *tallies) one() *tally {
	t.lock.Lock()
	defer t.lock.Unlock()
	made := newTally()
	t.all = append(t.all, made)
	return made
}
