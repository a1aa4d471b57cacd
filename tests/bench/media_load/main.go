// Command mediaload asks a media-cache host for much at once and prints one JSON object about what came of it.
//
//	mediaload closed  -address A -roots PEM -requests FILE   every connection asks again as soon as it was answered
//	mediaload open    ...                                    requests come by a clock, whatever became of those before
//	mediaload stalled ...                                    connections that never get done
//
// Each line of the requests file is a path or, for PUT, a path, a tab and the value of X-Livedub-Metadata. It says
// "ready" on stdout once its connections are warm, starts at the first line on stdin, and ends by itself; stalled ends
// at the end of stdin.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"time"
)

type options struct {
	address, roots, method, token string
	connections, count            int
	duration                      time.Duration
	rate                          float64
	bodyBytes                     int
	requests                      []request
}

type request struct{ path, metadata string }

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mediaload:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 {
		return fmt.Errorf("say closed, open or stalled")
	}
	var o options
	flags := flag.NewFlagSet("mediaload", flag.ContinueOnError)
	flags.StringVar(&o.address, "address", "", "HOST:PORT")
	flags.StringVar(&o.roots, "roots", "", "file with the certificates to trust")
	flags.StringVar(&o.method, "method", "GET", "GET or PUT")
	flags.StringVar(&o.token, "token", "", "bearer token of PUT")
	flags.IntVar(&o.connections, "connections", 1, "connections")
	flags.IntVar(&o.count, "count", 0, "closed: requests in all, each line once; 0: until -duration, lines over and over")
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "how long")
	flags.Float64Var(&o.rate, "rate", 100, "open: requests per second, stalled: connections opened per second")
	flags.IntVar(&o.bodyBytes, "body-bytes", 40_000, "length of a body")
	file := flags.String("requests", "", "file of requests")
	if err := flags.Parse(arguments[1:]); err != nil {
		return err
	}
	lines, err := readRequests(*file)
	if err != nil {
		return err
	}
	o.requests = lines
	dial, err := newDialer(o.address, o.roots)
	if err != nil {
		return err
	}
	switch arguments[0] {
	case "closed":
		return closed(o, dial)
	case "open":
		return open(o, dial)
	case "stalled":
		return stalled(o, dial)
	}
	return fmt.Errorf("%s: say closed, open or stalled", arguments[0])
}

func readRequests(name string) ([]request, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var found []request
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		path, metadata, _ := strings.Cut(line, "\t")
		found = append(found, request{path, metadata})
	}
	return found, nil
}

// awaitStart says that connections are warm and returns once somebody wants them used.
func awaitStart() error {
	fmt.Println("ready")
	_, err := bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// body is of a length that is not often asked for and of no particular content.
func body(length int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	made := make([]byte, length)
	random.Read(made)
	return made
}

func emit(report map[string]any) error {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		return err
	}
	report["client_cpu_s"] = seconds(used.Utime) + seconds(used.Stime)
	return json.NewEncoder(os.Stdout).Encode(report)
}

func seconds(value syscall.Timeval) float64 {
	return float64(value.Sec) + float64(value.Usec)/1e6
}
