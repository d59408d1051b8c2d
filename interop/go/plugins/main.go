// Plugins is a plugin server as people write them in Go: every module, over gRPC with the published
// stubs and over net/http, with the same answers. Its rules are one JSON object on standard input. It prints one line when it listens
// and one line for each question, before it is answered, and ends with SIGTERM.
package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"sallyport.example/interop/peer"
)

// A ruleset is what the modules answer by.
type ruleset struct {
	Refused   []string                   `json:"refused"`   // services that admit nobody
	Users     map[string]string          `json:"users"`     // ids by "name:password"
	Forbidden string                     `json:"forbidden"` // the host that is bypassed
	Nodes     map[string]json.RawMessage `json:"nodes"`     // nodes by the host that they are for
	Hosts     map[string][]string        `json:"hosts"`     // addresses by name, for the host mapper
	Names     map[string][]string        `json:"names"`     // addresses by name, for the resolver
	Limits    map[string]limitReply      `json:"limits"`    // rates by service, for each user of it
	Replace   map[string]string          `json:"replace"`   // what the rewriter puts in place of what
	tunnelRules
}

type admitRequest struct {
	Service string `json:"service"`
	Network string `json:"network"`
	Addr    string `json:"addr"`
}

type okReply struct {
	OK bool `json:"ok"`
}

func (r *ruleset) admit(in *admitRequest) *okReply {
	for _, service := range r.Refused {
		if in.Service == service {
			return &okReply{}
		}
	}
	return &okReply{OK: true}
}

type authRequest struct {
	Service               string   `json:"service"`
	Username              string   `json:"username"`
	Password              string   `json:"password"`
	Client                string   `json:"client"`
	ClientCN              string   `json:"clientCn,omitempty"`
	ClientSAN             []string `json:"clientSan,omitempty"`
	ClientCertFingerprint string   `json:"clientCertFingerprint,omitempty"`
}

type authReply struct {
	OK bool   `json:"ok"`
	ID string `json:"id"`
}

func (r *ruleset) authenticate(in *authRequest) *authReply {
	id, ok := r.Users[in.Username+":"+in.Password]
	return &authReply{OK: ok, ID: id}
}

type bypassRequest struct {
	Service string `json:"service"`
	Network string `json:"network"`
	Addr    string `json:"addr"`
	Client  string `json:"client"`
	Host    string `json:"host"`
	Path    string `json:"path"`
}

func (r *ruleset) bypass(in *bypassRequest) *okReply {
	host, _, err := net.SplitHostPort(in.Addr)
	return &okReply{OK: err != nil || host == r.Forbidden}
}

type hopRequest struct {
	Network string `json:"network"`
	Addr    string `json:"addr"`
	Host    string `json:"host"`
	Path    string `json:"path"`
	Client  string `json:"client"`
	Src     string `json:"src"`
}

// The node's JSON is the whole answer over HTTP, and stands in the answer's bytes over gRPC. Nil is no node.
func (r *ruleset) selectNode(in *hopRequest) json.RawMessage {
	host, _, _ := net.SplitHostPort(in.Host)
	return r.Nodes[host]
}

type nameRequest struct {
	Network string `json:"network"`
	Host    string `json:"host"`
	Client  string `json:"client"`
}

type nameReply struct {
	IPs []string `json:"ips"`
	OK  bool     `json:"ok"`
}

func (r *ruleset) lookup(in *nameRequest) *nameReply {
	ips, ok := r.Hosts[in.Host]
	return &nameReply{IPs: ips, OK: ok}
}

func (r *ruleset) resolve(in *nameRequest) *nameReply {
	ips, ok := r.Names[in.Host]
	return &nameReply{IPs: ips, OK: ok}
}

type limitRequest struct {
	Service string `json:"service"`
	Scope   string `json:"scope"`
	Network string `json:"network"`
	Addr    string `json:"addr"`
	Client  string `json:"client"`
	Src     string `json:"src"`
}

type limitReply struct {
	In  int64 `json:"in"`
	Out int64 `json:"out"`
}

func (r *ruleset) limit(in *limitRequest) *limitReply {
	rates := limitReply{}
	if in.Scope == "client" {
		rates = r.Limits[in.Service]
	}
	return &rates
}

// Record and rewriter requests have the same fields: in JSON, bytes are base64.
type dataRequest struct {
	Data     []byte `json:"data"`
	Metadata []byte `json:"metadata"`
}

func (r *ruleset) record(*dataRequest) *okReply { return &okReply{OK: true} }

type rewriteReply struct {
	OK   bool   `json:"ok"`
	Data []byte `json:"data"`
}

func (r *ruleset) rewrite(in *dataRequest) *rewriteReply {
	data := in.Data
	for from, to := range r.Replace {
		data = bytes.ReplaceAll(data, []byte(from), []byte(to))
	}
	return &rewriteReply{OK: !bytes.Equal(data, in.Data), Data: data}
}

type observeRequest struct {
	Events []event `json:"events"`
}

type event struct {
	Kind    string        `json:"kind"`
	Service string        `json:"service"`
	Client  string        `json:"client,omitempty"`
	Type    string        `json:"type"`
	Stats   *stats        `json:"stats,omitempty"`
	Status  *serviceState `json:"status,omitempty"`
}

type stats struct {
	TotalConns   uint64 `json:"totalConns"`
	CurrentConns uint64 `json:"currentConns"`
	InputBytes   uint64 `json:"inputBytes"`
	OutputBytes  uint64 `json:"outputBytes"`
	TotalErrs    uint64 `json:"totalErrs"`
}

type serviceState struct {
	State string `json:"state"`
	Msg   string `json:"msg"`
}

func (r *ruleset) observe(*observeRequest) *okReply { return &okReply{OK: true} }

var (
	token   string
	printed sync.Mutex
	count   int
)

// Asked prints one question. They are numbered, so that whoever reads them can wait for the next.
func asked(module, transport string, request any) {
	printed.Lock()
	defer printed.Unlock()
	count++
	peer.Print(map[string]any{"n": count, "module": module, "transport": transport, "request": request})
}

// Serve answers one module over HTTP.
func serve[Request, Reply any](mux *http.ServeMux, module string, decide func(*Request) Reply) {
	mux.HandleFunc("/"+module, byVerb(verbs{http.MethodPost: fromBody(module, decide)}))
}

// Verbs are what a module does, each by the verb that asks for it.
type verbs map[string]http.HandlerFunc

func byVerb(known verbs) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer, ok := known[r.Method]
		if !ok {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		answer(w, r)
	}
}

// FromBody answers a question that stands in the body.
func fromBody[Request, Reply any](name string, decide func(*Request) Reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { answer(w, r.Body, name, decide) }
}

// FromQuery answers a question that stands in the query, each field once.
func fromQuery[Request, Reply any](name string, decide func(*Request) Reply) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		fields := map[string]string{}
		for key, values := range r.URL.Query() {
			if len(values) != 1 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fields[key] = values[0]
		}
		text, err := json.Marshal(fields)
		if err != nil {
			log.Fatal(err)
		}
		answer(w, bytes.NewReader(text), name, decide)
	}
}

// Answer decides one question. A field that we do not know is an error, so that none arrives unseen.
func answer[Request, Reply any](w http.ResponseWriter, in io.Reader, name string, decide func(*Request) Reply) {
	var request Request
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		log.Print(err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	asked(name, "http", &request)
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(decide(&request)); err != nil {
		log.Print(err)
	}
}

func main() {
	cert := flag.String("cert", "", "our certificate; without it, plaintext")
	key := flag.String("key", "", "its key")
	flag.StringVar(&token, "token", "", "what every caller must send")
	flag.Parse()

	var rules ruleset
	if err := json.NewDecoder(os.Stdin).Decode(&rules); err != nil {
		log.Fatal(err)
	}
	pair := peer.Pair(*cert, *key)

	mux := http.NewServeMux()
	serve(mux, "admission", rules.admit)
	serve(mux, "auther", rules.authenticate)
	serve(mux, "bypass", rules.bypass)
	serve(mux, "hop", rules.selectNode)
	serve(mux, "hosts", rules.lookup)
	serve(mux, "resolver", rules.resolve)
	serve(mux, "limiter", rules.limit)
	serve(mux, "recorder", rules.record)
	serve(mux, "rewriter", rules.rewrite)
	serve(mux, "observer", rules.observe)
	serveTunnels(mux, &rules)
	// What was asked before this was answered has been printed: nothing comes after it that was.
	mux.HandleFunc("/mark/", func(_ http.ResponseWriter, r *http.Request) {
		asked("mark", "http", strings.TrimPrefix(r.URL.Path, "/mark/"))
	})

	var options []grpc.ServerOption
	if pair != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: pair, MinVersion: tls.VersionTLS12})))
	}
	services := grpc.NewServer(options...)
	registerAll(services, &rules)

	web, remote := listen(), listen()
	server := &http.Server{Handler: mux}
	go func() {
		err := error(nil)
		if pair == nil {
			err = server.Serve(web)
		} else {
			server.TLSConfig = &tls.Config{Certificates: pair, MinVersion: tls.VersionTLS12}
			err = server.ServeTLS(web, "", "")
		}
		if !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	peer.Print(map[string]string{"http": web.Addr().String(), "grpc": remote.Addr().String()})
	if err := services.Serve(remote); err != nil {
		log.Fatal(err)
	}
}

func listen() net.Listener {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}
