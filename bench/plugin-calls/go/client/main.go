// Client asks as GOST does: gRPC through grpc-go with the token as metadata, or HTTP through net/http with the transport
// that GOST makes (no limits set, so two idle connections a host).
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"sort"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-gost/plugin/auth/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

type token struct{}

func (token) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"token": "gost"}, nil
}
func (token) RequireTransportSecurity() bool { return false }

type ask struct {
	Service  string `json:"service"`
	Username string `json:"username"`
	Password string `json:"password"`
	Client   string `json:"client"`
}

func cpu() float64 {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	d := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	return d(u.Utime) + d(u.Stime)
}

func grpcCall(port int) func() error {
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", port),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithPerRPCCredentials(token{}))
	if err != nil {
		log.Fatal(err)
	}
	client := proto.NewAuthenticatorClient(conn)
	return func() error {
		// GOST sets no deadline; Sallyport does, so the comparison gives grpc-go the easier task.
		r, err := client.Authenticate(context.Background(), &proto.AuthenticateRequest{
			Username: "gost", Password: "gost", Client: "127.0.0.1:40000", Service: "service-0"})
		if err == nil && !r.GetOk() {
			err = fmt.Errorf("wrong answer")
		}
		return err
	}
}

func httpCall(port int) func() error {
	client := &http.Client{Transport: &http.Transport{}}
	url := fmt.Sprintf("http://127.0.0.1:%d/auth", port)
	return func() error {
		body, _ := json.Marshal(ask{"service-0", "gost", "gost", "127.0.0.1:40000"})
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer gost")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var out struct {
			OK bool `json:"ok"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK || !out.OK {
			return fmt.Errorf("wrong answer")
		}
		return nil
	}
}

func main() {
	transport := flag.String("transport", "grpc", "grpc or http")
	port := flag.Int("port", 0, "where the plugin listens")
	concurrency := flag.Int("concurrency", 1, "calls in flight")
	warmup := flag.Duration("warmup", 500*time.Millisecond, "not counted")
	duration := flag.Duration("duration", 2*time.Second, "counted")
	flag.Parse()
	call := grpcCall(*port)
	if *transport == "http" {
		call = httpCall(*port)
	}
	var counting, stop atomic.Bool
	var failures atomic.Int64
	samples := make([][]time.Duration, *concurrency)
	var wg sync.WaitGroup
	for i := range *concurrency {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for !stop.Load() {
				start := time.Now()
				if err := call(); err != nil {
					failures.Add(1)
				}
				if counting.Load() {
					samples[i] = append(samples[i], time.Since(start))
				}
			}
		}()
	}
	time.Sleep(*warmup)
	counting.Store(true)
	from, used := time.Now(), cpu()
	time.Sleep(*duration)
	counting.Store(false)
	seconds, spent := time.Since(from).Seconds(), cpu()-used
	stop.Store(true)
	wg.Wait()
	var all []time.Duration
	for _, s := range samples {
		all = append(all, s...)
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	at := func(q float64) float64 { return float64(all[int(float64(len(all)-1)*q)].Nanoseconds()) / 1e6 }
	fmt.Printf("{\"calls\":%d,\"failures\":%d,\"callsPerSecond\":%.1f,\"p50Ms\":%.4f,\"p99Ms\":%.4f,\"cpuMicrosPerCall\":%.3f}\n",
		len(all), failures.Load(), float64(len(all))/seconds, at(0.5), at(0.99), spent*1e6/float64(len(all)))
}
