// Load drives a proxy and says what that cost the proxy's process: connections one after the other (connect), bytes that it sends
// (bulk) or is sent (bulk-down), or connections that are open and do nothing (idle). It prints one JSON line.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	mode        = flag.String("mode", "connect", "connect, bulk, bulk-down or idle")
	protocol    = flag.String("protocol", "tcp", "tcp, connect or socks5")
	proxy       = flag.String("proxy", "", "where the proxy listens")
	target      = flag.String("target", "", "what it is asked for, host:port")
	user        = flag.String("user", "", "user:password")
	distinct    = flag.Bool("distinct", false, "each of those at once has an address and a user of its own")
	pid         = flag.Int("pid", 0, "the proxy's process")
	second      = flag.Int("second", 0, "the process of a second proxy behind it")
	connections = flag.Int("connections", 32, "how many at once")
	warmup      = flag.Duration("warmup", 2*time.Second, "not counted")
	duration    = flag.Duration("duration", 1500*time.Millisecond, "counted")
)

// cpu is the CPU time of a process so far, all threads, user and system, in seconds.
func cpu(pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		log.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100
}

// resident is the resident memory of the proxy, in KiB.
func resident() float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", *pid))
	if err != nil {
		log.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		log.Fatal(err)
	}
	return kib
}

// requestHead asks for the tunnel, as the client of this number. Plain TCP asks for nothing.
func requestHead(number int) []byte {
	if *protocol == "tcp" {
		return nil
	}
	host, portText, err := net.SplitHostPort(*target)
	if err != nil {
		log.Fatal(err)
	}
	if *protocol == "connect" {
		head := "CONNECT " + *target + " HTTP/1.1\r\nHost: " + *target + "\r\n"
		if *user != "" {
			credentials := *user
			if *distinct {
				credentials = fmt.Sprintf("%d-%s", number, credentials)
			}
			head += "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(credentials)) + "\r\n"
		}
		return []byte(head + "\r\n")
	}
	port, _ := strconv.Atoi(portText)
	head := []byte{5, 1, 0}
	if ip := net.ParseIP(host).To4(); ip != nil {
		head = append(append(head, 1), ip...)
	} else {
		head = append(append(head, 3, byte(len(host))), host...)
	}
	return append(head, byte(port>>8), byte(port))
}

// open connects through the proxy to the target, as the client of this number.
func open(number int, head, buffer []byte) (*net.TCPConn, error) {
	var dialer net.Dialer
	if *distinct {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1, 0, byte(number+1))}
	}
	dialed, err := dialer.Dial("tcp", *proxy)
	if err != nil {
		return nil, err
	}
	conn := dialed.(*net.TCPConn)
	if err := prelude(conn, head, buffer); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func prelude(conn *net.TCPConn, head, buffer []byte) error {
	switch *protocol {
	case "connect":
		if _, err := conn.Write(head); err != nil {
			return err
		}
		for n := 0; !bytes.HasSuffix(buffer[:n], []byte("\r\n\r\n")); {
			more, err := conn.Read(buffer[n:])
			if err != nil {
				return err
			}
			n += more
		}
		if !bytes.HasPrefix(buffer, []byte("HTTP/1.1 200")) {
			return fmt.Errorf("refused: %s", buffer[:12])
		}
	case "socks5":
		if _, err := conn.Write([]byte{5, 1, 0}); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, buffer[:2]); err != nil {
			return err
		}
		if _, err := conn.Write(head); err != nil {
			return err
		}
		// Both proxies bind an IPv4 address here.
		if _, err := io.ReadFull(conn, buffer[:10]); err != nil {
			return err
		}
		if buffer[1] != 0 || buffer[3] != 1 {
			return fmt.Errorf("refused: %v", buffer[:10])
		}
	}
	return nil
}

func echo(conn net.Conn, message, buffer []byte) error {
	if _, err := conn.Write(message); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, buffer[:len(message)]); err != nil {
		return err
	}
	if !bytes.Equal(message, buffer[:len(message)]) {
		return fmt.Errorf("another echo")
	}
	return nil
}

type result map[string]float64

func connect() result {
	message := bytes.Repeat([]byte("x"), 64)
	var counting, stop atomic.Bool
	var failures, all atomic.Int64
	samples := make([][]float64, *connections)
	var workers sync.WaitGroup
	for i := range *connections {
		workers.Add(1)
		go func() {
			defer workers.Done()
			head, buffer := requestHead(i), make([]byte, 4096)
			for !stop.Load() {
				start := time.Now()
				conn, err := open(i, head, buffer)
				if err == nil {
					err = echo(conn, message, buffer)
					conn.Close()
				}
				all.Add(1)
				if err != nil {
					if failures.Add(1) == 1 {
						log.Print(err)
					}
				} else if counting.Load() {
					samples[i] = append(samples[i], time.Since(start).Seconds()*1000)
				}
			}
		}()
	}
	time.Sleep(*warmup)
	counting.Store(true)
	from, used := time.Now(), cpu(*pid)
	time.Sleep(*duration)
	counting.Store(false)
	seconds, spent := time.Since(from).Seconds(), cpu(*pid)-used
	stop.Store(true)
	workers.Wait()
	var ms []float64
	for _, s := range samples {
		ms = append(ms, s...)
	}
	sort.Float64s(ms)
	done := float64(len(ms))
	if done == 0 {
		log.Fatal("no connection was served")
	}
	at := func(q float64) float64 { return ms[int((done-1)*q)] }
	return result{"connections": float64(all.Load()), "failures": float64(failures.Load()), "perSecond": done / seconds,
		"cpuMicros": spent * 1e6 / done, "p50Ms": at(0.5), "p99Ms": at(0.99)}
}

// send writes until it is told to stop, and counts what the sink says that it has got.
func send(conn *net.TCPConn, file *os.File, stop *atomic.Bool, arrived *atomic.Int64) {
	source, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	go func() {
		acknowledged := make([]byte, 4096)
		for {
			n, err := conn.Read(acknowledged)
			arrived.Add(int64(n) << 20)
			if err != nil {
				return
			}
		}
	}()
	for !stop.Load() {
		if _, err := source.Seek(0, io.SeekStart); err != nil {
			log.Fatal(err)
		}
		// The runtime makes this sendfile.
		if _, err := conn.ReadFrom(source); err != nil && !stop.Load() {
			log.Fatal(err)
		}
	}
}

// receive asks the source for bytes, by one of its own, and counts them until it is told to stop. They are not copied out of the
// kernel (MSG_TRUNC, tcp(7)).
func receive(conn *net.TCPConn, stop *atomic.Bool, arrived *atomic.Int64) {
	if _, err := io.WriteString(conn, "."); err != nil {
		log.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		log.Fatal(err)
	}
	for {
		var n uintptr
		var failure syscall.Errno
		err := raw.Read(func(fd uintptr) bool {
			n, _, failure = syscall.Syscall6(syscall.SYS_RECVFROM, fd, 0, 4<<20, syscall.MSG_TRUNC, 0, 0)
			return failure != syscall.EAGAIN
		})
		if stop.Load() {
			return
		}
		if err != nil || failure != 0 || n == 0 {
			log.Fatal("the source's bytes ended: ", err, failure)
		}
		arrived.Add(int64(n))
	}
}

// bulk carries bytes over all connections at once. Of the slowest it says which part of an equal share it got.
func bulk(isDown bool) result {
	head := requestHead(0)
	file, err := os.CreateTemp("", "bulk")
	if err != nil {
		log.Fatal(err)
	}
	_ = os.Remove(file.Name())
	const size = 64 << 20
	if _, err := file.Write(make([]byte, size)); err != nil {
		log.Fatal(err)
	}
	var stop atomic.Bool
	arrived := make([]atomic.Int64, *connections)
	var workers sync.WaitGroup
	var conns []*net.TCPConn
	for i := range *connections {
		workers.Add(1)
		conn, err := open(0, head, make([]byte, 4096))
		if err != nil {
			log.Fatal(err)
		}
		conns = append(conns, conn)
		go func() {
			defer workers.Done()
			if isDown {
				receive(conn, &stop, &arrived[i])
			} else {
				send(conn, file, &stop, &arrived[i])
			}
		}()
	}
	used := func() (first, behind float64) {
		if *second != 0 {
			behind = cpu(*second)
		}
		return cpu(*pid), behind
	}
	before := make([]int64, *connections)
	time.Sleep(*warmup)
	from := time.Now()
	firstBefore, secondBefore := used()
	for i := range before {
		before[i] = arrived[i].Load()
	}
	time.Sleep(*duration)
	seconds := time.Since(from).Seconds()
	first, behind := used()
	var all, least int64
	for i := range before {
		got := arrived[i].Load() - before[i]
		all += got
		if i == 0 || got < least {
			least = got
		}
	}
	stop.Store(true)
	for _, conn := range conns {
		conn.Close()
	}
	workers.Wait()
	if all == 0 {
		log.Fatal("no byte arrived")
	}
	gib := float64(all) / (1 << 30)
	first, behind = (first-firstBefore)/gib, (behind-secondBefore)/gib
	figures := result{"gibPerSecond": gib / seconds, "cpuSecondsPerGib": first + behind}
	if *second != 0 {
		figures["firstCpuSecondsPerGib"], figures["secondCpuSecondsPerGib"] = first, behind
	}
	if *connections > 1 {
		figures["slowestShare"] = float64(least) * float64(*connections) / float64(all)
	}
	return figures
}

func idle() result {
	head := requestHead(0)
	message := []byte("hello")
	buffer := make([]byte, 4096)
	// The first connections load code and fill pools; what they cost is not the others'.
	for range 200 {
		conn, err := open(0, head, buffer)
		if err != nil {
			log.Fatal(err)
		}
		if err := echo(conn, message, buffer); err != nil {
			log.Fatal(err)
		}
		conn.Close()
	}
	time.Sleep(500 * time.Millisecond)
	before := resident()
	conns := make([]*net.TCPConn, *connections)
	for i := range conns {
		conn, err := open(0, head, buffer)
		if err != nil {
			log.Fatal(err)
		}
		if err := echo(conn, message, buffer); err != nil {
			log.Fatal(err)
		}
		conns[i] = conn
	}
	time.Sleep(*duration)
	after := resident()
	from, used := time.Now(), cpu(*pid)
	time.Sleep(time.Second)
	share := (cpu(*pid) - used) / time.Since(from).Seconds()
	alive := 0
	for _, conn := range conns {
		if echo(conn, message, buffer) == nil {
			alive++
		}
		conn.Close()
	}
	return result{"beforeMib": before / 1024, "kibPerConnection": (after - before) / float64(*connections),
		"alive": float64(alive), "idleCpuShare": share}
}

func main() {
	flag.Parse()
	modes := map[string]func() result{"connect": connect, "idle": idle,
		"bulk": func() result { return bulk(false) }, "bulk-down": func() result { return bulk(true) }}
	line, err := json.Marshal(modes[*mode]())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}
