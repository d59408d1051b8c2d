// Visitors come to tunnels by host name, and find the web server that stands behind them in the same process: each tunnel leads
// to an address of its own, 127.2.x.y, and the server answers at which one it was asked, so that whoever lands in another's
// tunnel is found out. The first line on standard output is the server's port. Each line on standard input is then an order,
// answered with a line of JSON:
//
//	each N TO AT    every tunnel from N up to TO is visited at the entrypoint AT until it answers
//	come N TUNNELS SECONDS EVERY AT    N visitors, one after the other at equal distances; of EVERY of them one stays, and
//	                asks again over the same connection every 20 s until the last has come
//	again           those who stayed ask once more
//	leave           those who stayed close
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sort"
	"sync"
	"time"
)

// deadline is how long a visitor waits for the whole answer.
const deadline = 20 * time.Second

// address is where the tunnel of this number leads to.
func address(tunnel int) string {
	return fmt.Sprintf("127.2.%d.%d", tunnel>>8, tunnel&255)
}

func serve() int {
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		log.Fatal(err)
	}
	answer := func(w http.ResponseWriter, r *http.Request) {
		at := r.Context().Value(http.LocalAddrContextKey).(net.Addr).(*net.TCPAddr)
		_, _ = io.WriteString(w, at.IP.String())
	}
	go func() { log.Fatal(http.Serve(listener, http.HandlerFunc(answer))) }()
	return listener.Addr().(*net.TCPAddr).Port
}

// visitor is one connection to the entrypoint, for one tunnel.
type visitor struct {
	conn   net.Conn
	reader *bufio.Reader
	tunnel int
}

func come(tunnel int, at string) (*visitor, error) {
	conn, err := net.DialTimeout("tcp", at, deadline)
	if err != nil {
		return nil, err
	}
	return &visitor{conn, bufio.NewReaderSize(conn, 1024), tunnel}, nil
}

// ask sends a request and checks that the right tunnel has answered it.
func (v *visitor) ask() error {
	if err := v.conn.SetDeadline(time.Now().Add(deadline)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(v.conn, "GET / HTTP/1.1\r\nHost: t%d.test\r\n\r\n", v.tunnel); err != nil {
		return err
	}
	response, err := http.ReadResponse(v.reader, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || string(body) != address(v.tunnel) {
		return fmt.Errorf("tunnel %d: %s, %q", v.tunnel, response.Status, body)
	}
	return nil
}

type tally struct {
	sync.Mutex
	ms       []float64
	failures int
	first    string
}

func (t *tally) add(start time.Time, err error) {
	took := time.Since(start).Seconds() * 1000
	t.Lock()
	defer t.Unlock()
	if err == nil {
		t.ms = append(t.ms, took)
		return
	}
	if t.failures == 0 {
		t.first = err.Error()
	}
	t.failures++
}

func (t *tally) figures() map[string]any {
	figures := map[string]any{"answered": len(t.ms), "failures": t.failures}
	if t.failures > 0 {
		figures["firstFailure"] = t.first
	}
	if len(t.ms) > 0 {
		sort.Float64s(t.ms)
		at := func(q float64) float64 { return t.ms[int(float64(len(t.ms)-1)*q)] }
		figures["p50Ms"], figures["p99Ms"], figures["maxMs"] = at(0.5), at(0.99), at(1)
	}
	return figures
}

func each(from, to int, at string) map[string]any {
	var tally tally
	until := time.Now().Add(deadline)
	for tunnel := from; tunnel < to; tunnel++ {
		for {
			start := time.Now()
			v, err := come(tunnel, at)
			if err == nil {
				err = v.ask()
				v.conn.Close()
			}
			if err == nil || time.Now().After(until) {
				tally.add(start, err)
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return tally.figures()
}

// pause is how long those who stay say nothing. Browsers and servers give a silent connection up after a minute or so.
const pause = 20 * time.Second

var stayed struct {
	sync.Mutex
	visitors []*visitor
}

// stay asks again and again until it is over.
func (v *visitor) stay(over <-chan struct{}, tally *tally) {
	for {
		select {
		case <-over:
			return
		case <-time.After(pause):
			start := time.Now()
			tally.add(start, v.ask())
		}
	}
}

func visitAll(count, tunnels int, seconds float64, every int, at string) map[string]any {
	var tally, staying tally
	var visits, stayers sync.WaitGroup
	over := make(chan struct{})
	began := time.Now()
	for i := range count {
		// Not sooner, whatever those before have met with.
		due := began.Add(time.Duration(float64(i) / float64(count) * seconds * float64(time.Second)))
		time.Sleep(time.Until(due))
		visits.Add(1)
		go func() {
			defer visits.Done()
			v, err := come(i%tunnels, at)
			if err == nil {
				err = v.ask()
			}
			tally.add(due, err)
			switch {
			case v == nil:
			case err != nil || i%every != 0:
				v.conn.Close()
			default:
				stayed.Lock()
				stayed.visitors = append(stayed.visitors, v)
				stayed.Unlock()
				stayers.Add(1)
				go func() {
					defer stayers.Done()
					v.stay(over, &staying)
				}()
			}
		}()
	}
	visits.Wait()
	close(over)
	stayers.Wait()
	figures := tally.figures()
	figures["whileStaying"] = staying.figures()
	figures["open"] = len(stayed.visitors)
	return figures
}

// again has sixteen ask at once.
func again() map[string]any {
	var tally tally
	var workers sync.WaitGroup
	for worker := range 16 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := worker; i < len(stayed.visitors); i += 16 {
				start := time.Now()
				tally.add(start, stayed.visitors[i].ask())
			}
		}()
	}
	workers.Wait()
	return tally.figures()
}

func leave() map[string]any {
	for _, v := range stayed.visitors {
		v.conn.Close()
	}
	stayed.visitors = nil
	return map[string]any{}
}

func main() {
	fmt.Println(serve())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var order, at string
		var one, two, every int
		var seconds float64
		var figures map[string]any
		_, _ = fmt.Sscan(lines.Text(), &order)
		switch order {
		case "each":
			_, _ = fmt.Sscan(lines.Text(), &order, &one, &two, &at)
			figures = each(one, two, at)
		case "come":
			_, _ = fmt.Sscan(lines.Text(), &order, &one, &two, &seconds, &every, &at)
			figures = visitAll(one, two, seconds, every, at)
		case "again":
			figures = again()
		case "leave":
			figures = leave()
		default:
			log.Fatalf("what is %q?", lines.Text())
		}
		line, err := json.Marshal(figures)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(line))
	}
}
