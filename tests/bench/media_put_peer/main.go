// Command mediaputpeer is what the upload service is measured against: the same promises (token, strict paths, bounds,
// one deadline per body, fdatasync, atomic publish) on Go's standard library alone, on a Unix socket behind the same
// Caddy.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	bodyDeadline = 10 * time.Second
	maxBody      = 4 << 20
	bufferBytes  = 256 << 10

	oTmpfile        = 0x400000 | syscall.O_DIRECTORY // O_TMPFILE of open(2), which syscall does not have
	atFdcwd         = -100
	atSymlinkFollow = 0x400
)

var objectPath = regexp.MustCompile(`^/media/([0-9a-f]{2})/([0-9a-f]{64})\.(alaw|pcm)$`)

type service struct {
	data, staging string
	token         [32]byte
	links         atomic.Int64
	buffers       sync.Pool
}

func main() {
	if err := serve(os.Getenv("MEDIA_SOCKET"), os.Getenv("MEDIA_DATA_DIR"), os.Getenv("MEDIA_UPLOAD_TOKEN")); err != nil {
		fmt.Fprintln(os.Stderr, "mediaputpeer:", err)
		os.Exit(1)
	}
}

func serve(socket, data, token string) error {
	s := &service{data: data, staging: filepath.Join(data, "staging"), token: sha256.Sum256([]byte(token))}
	s.buffers.New = func() any { made := make([]byte, bufferBytes); return &made }
	for shard := range 256 {
		if err := os.MkdirAll(filepath.Join(data, "media", fmt.Sprintf("%02x", shard)), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.staging, 0o700); err != nil {
		return err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s, IdleTimeout: 75 * time.Second, ReadHeaderTimeout: 5 * time.Second}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	go func() {
		<-stop.Done()
		limit, cancel := context.WithTimeout(context.Background(), bodyDeadline)
		defer cancel()
		server.Shutdown(limit)
	}()
	fmt.Println("ready")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/health" {
		return
	}
	parts := objectPath.FindStringSubmatch(r.URL.EscapedPath())
	switch {
	case parts == nil || parts[1] != parts[2][:2]:
		w.WriteHeader(http.StatusNotFound)
	case r.Method != http.MethodPut:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case !s.allowed(r.Header.Get("Authorization")):
		w.WriteHeader(http.StatusUnauthorized)
	case r.ContentLength > maxBody:
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	default:
		w.WriteHeader(s.put(w, r, parts))
	}
}

func (s *service) allowed(authorization string) bool {
	token, found := strings.CutPrefix(authorization, "Bearer ")
	presented := sha256.Sum256([]byte(token))
	return found && subtle.ConstantTimeCompare(presented[:], s.token[:]) == 1
}

func (s *service) put(w http.ResponseWriter, r *http.Request, parts []string) int {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyDeadline)); err != nil {
		return http.StatusInternalServerError
	}
	fd, err := syscall.Open(s.staging, oTmpfile|syscall.O_WRONLY|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return failed(err)
	}
	defer syscall.Close(fd)
	size, err := s.stage(fd, http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return failed(err)
	}
	if size == 0 || parts[3] == "pcm" && size%2 != 0 {
		return http.StatusUnprocessableEntity
	}
	if err := syscall.Fdatasync(fd); err != nil {
		return failed(err)
	}
	created, err := s.publish(fd, filepath.Join(s.data, "media", parts[1], parts[2]+"."+parts[3]))
	if err != nil {
		return failed(err)
	}
	if created {
		return http.StatusCreated
	}
	return http.StatusNoContent
}

func (s *service) stage(fd int, content io.Reader) (int, error) {
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	size := 0
	for {
		read, err := io.ReadFull(content, *buffer)
		for rest := (*buffer)[:read]; len(rest) > 0; {
			written, err := syscall.Write(fd, rest)
			if err != nil {
				return size, err
			}
			rest = rest[written:]
		}
		size += read
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

func (s *service) publish(fd int, name string) (created bool, err error) {
	if err = link(fd, name); !errors.Is(err, syscall.EEXIST) {
		return err == nil, err
	}
	beside := filepath.Join(s.staging, fmt.Sprint(s.links.Add(1)))
	if err = link(fd, beside); err != nil {
		return false, err
	}
	if err = os.Rename(beside, name); err != nil {
		os.Remove(beside)
	}
	return false, err
}

// link is linkat(2), by which alone a file without a name gets one.
func link(fd int, name string) error {
	from, err := syscall.BytePtrFromString(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	here := atFdcwd
	_, _, number := syscall.Syscall6(
		syscall.SYS_LINKAT, uintptr(here), uintptr(unsafe.Pointer(from)), uintptr(here),
		uintptr(unsafe.Pointer(to)), atSymlinkFollow, 0,
	)
	if number != 0 {
		return number
	}
	return nil
}

func failed(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	case errors.Is(err, syscall.ENOSPC):
		return http.StatusInsufficientStorage
	}
	return http.StatusInternalServerError
}
