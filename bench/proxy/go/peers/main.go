// Peers is what a proxy under measure has around it: an echo, a sink, a source, and plugins that answer by grpc-go. The plugins
// on the port "late" take their time first. Each line on standard input is answered with the calls of each kind since the last
// one.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	admission "github.com/go-gost/plugin/admission/proto"
	auth "github.com/go-gost/plugin/auth/proto"
	bypass "github.com/go-gost/plugin/bypass/proto"
	resolver "github.com/go-gost/plugin/resolver/proto"
	"google.golang.org/grpc"
)

var admits, auths, bypasses, resolves atomic.Int64

type plugins struct {
	admission.UnimplementedAdmissionServer
	auth.UnimplementedAuthenticatorServer
	bypass.UnimplementedBypassServer
	resolver.UnimplementedResolverServer
	delay time.Duration
}

func (p plugins) Admit(context.Context, *admission.AdmissionRequest) (*admission.AdmissionReply, error) {
	admits.Add(1)
	time.Sleep(p.delay)
	return &admission.AdmissionReply{Ok: true}, nil
}

func (p plugins) Authenticate(_ context.Context, in *auth.AuthenticateRequest) (*auth.AuthenticateReply, error) {
	auths.Add(1)
	time.Sleep(p.delay)
	return &auth.AuthenticateReply{Ok: in.GetPassword() == "secret", Id: in.GetUsername()}, nil
}

func (p plugins) Bypass(context.Context, *bypass.BypassRequest) (*bypass.BypassReply, error) {
	bypasses.Add(1)
	time.Sleep(p.delay)
	return &bypass.BypassReply{}, nil
}

func (p plugins) Resolve(context.Context, *resolver.ResolveRequest) (*resolver.ResolveReply, error) {
	resolves.Add(1)
	time.Sleep(p.delay)
	return &resolver.ResolveReply{Ips: []string{"127.0.0.1"}, Ok: true}, nil
}

func listen() (net.Listener, int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return l, l.Addr().(*net.TCPAddr).Port
}

func serve(p plugins) int {
	l, port := listen()
	s := grpc.NewServer()
	admission.RegisterAdmissionServer(s, p)
	auth.RegisterAuthenticatorServer(s, p)
	bypass.RegisterBypassServer(s, p)
	resolver.RegisterResolverServer(s, p)
	go func() { log.Fatal(s.Serve(l)) }()
	return port
}

func accept(handle func(*net.TCPConn)) int {
	l, port := listen()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				log.Fatal(err)
			}
			go func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			}()
		}
	}()
	return port
}

func echo(conn *net.TCPConn) {
	buffer := make([]byte, 512)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// sink takes bytes without copying them out of the kernel (MSG_TRUNC, tcp(7)), and answers each MiB with a byte, so that the
// sender knows what has arrived.
func sink(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	total, acknowledged := 0, 0
	for {
		var n uintptr
		var failure syscall.Errno
		err := raw.Read(func(fd uintptr) bool {
			n, _, failure = syscall.Syscall6(syscall.SYS_RECVFROM, fd, 0, 4<<20, syscall.MSG_TRUNC, 0, 0)
			return failure != syscall.EAGAIN
		})
		if err != nil || failure != 0 || n == 0 {
			return
		}
		total += int(n)
		for ; acknowledged < total>>20; acknowledged++ {
			if _, err := io.WriteString(conn, "."); err != nil {
				return
			}
		}
	}
}

// zeros is what the source sends, over and over.
var zeros = sync.OnceValue(func() *os.File {
	file, err := os.CreateTemp("", "source")
	if err != nil {
		log.Fatal(err)
	}
	_ = os.Remove(file.Name())
	if err := file.Truncate(64 << 20); err != nil {
		log.Fatal(err)
	}
	return file
})

// source sends to whoever has said something, until it is left.
func source(conn *net.TCPConn) {
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return
	}
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", zeros().Fd()))
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	for {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			log.Fatal(err)
		}
		// The runtime makes this sendfile.
		if _, err := conn.ReadFrom(file); err != nil {
			return
		}
	}
}

func print(values map[string]int64) {
	line, err := json.Marshal(values)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(line))
}

func main() {
	late := flag.Duration("late", time.Millisecond, "how long the plugins on the port \"late\" take to answer")
	flag.Parse()
	print(map[string]int64{
		"echo": int64(accept(echo)), "sink": int64(accept(sink)), "source": int64(accept(source)),
		"plugins": int64(serve(plugins{})), "late": int64(serve(plugins{delay: *late})),
	})
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		print(map[string]int64{
			"admission": admits.Swap(0), "auth": auths.Swap(0), "bypass": bypasses.Swap(0), "resolver": resolves.Swap(0),
		})
	}
}
