// Server answers authenticate calls: gRPC by grpc-go and go-gost/plugin, HTTP by net/http, each on a port of its own.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/go-gost/plugin/auth/proto"
	"google.golang.org/grpc"
)

type server struct {
	proto.UnimplementedAuthenticatorServer
}

func (server) Authenticate(_ context.Context, in *proto.AuthenticateRequest) (*proto.AuthenticateReply, error) {
	return &proto.AuthenticateReply{Ok: in.GetPassword() == "gost", Id: in.GetUsername()}, nil
}

type ask struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type answer struct {
	OK bool   `json:"ok"`
	ID string `json:"id"`
}

func authenticate(w http.ResponseWriter, r *http.Request) {
	var in ask
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer{OK: in.Password == "gost", ID: in.Username})
}

func listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return l
}

func main() {
	g, h := listen(), listen()
	s := grpc.NewServer()
	proto.RegisterAuthenticatorServer(s, server{})
	mux := http.NewServeMux()
	mux.HandleFunc("/auth", authenticate)
	go func() { _ = s.Serve(g) }()
	hs := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = hs.Serve(h) }()
	fmt.Printf("{\"grpc\":%d,\"http\":%d}\n", g.Addr().(*net.TCPAddr).Port, h.Addr().(*net.TCPAddr).Port)
	// Ends with the runner, which holds our standard input.
	_, _ = os.Stdin.Read(make([]byte, 1))
}
