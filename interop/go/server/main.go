// Server answers every method of every module from a script, and prints what it was asked, one JSON line a call.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"net"
	"os"
	"sync"

	admission "github.com/go-gost/plugin/admission/proto"
	auth "github.com/go-gost/plugin/auth/proto"
	bypass "github.com/go-gost/plugin/bypass/proto"
	hop "github.com/go-gost/plugin/hop/proto"
	hosts "github.com/go-gost/plugin/hosts/proto"
	ingress "github.com/go-gost/plugin/ingress/proto"
	limiter "github.com/go-gost/plugin/limiter/traffic/proto"
	observer "github.com/go-gost/plugin/observer/proto"
	recorder "github.com/go-gost/plugin/recorder/proto"
	resolver "github.com/go-gost/plugin/resolver/proto"
	rewriter "github.com/go-gost/plugin/rewriter/proto"
	router "github.com/go-gost/plugin/router/proto"
	sd "github.com/go-gost/plugin/sd/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sallyport.example/interop/peer"
)

// A step answers one call: with a reply, with a failure, or not at all until the caller has gone.
type step struct {
	Reply    json.RawMessage   `json:"reply"`
	Code     codes.Code        `json:"code"`
	Message  string            `json:"message"`
	Hang     bool              `json:"hang"`
	Trailers map[string]string `json:"trailers"`
}

var (
	lock  sync.Mutex
	steps map[string][]step // by method; each is used once, in order
	token string
)

func next(method string) (step, bool) {
	lock.Lock()
	defer lock.Unlock()
	if len(steps[method]) == 0 {
		return step{}, false
	}
	first := steps[method][0]
	steps[method] = steps[method][1:]
	return first, true
}

func answer[Reply proto.Message](ctx context.Context, request proto.Message, reply Reply) (Reply, error) {
	var none Reply
	method, _ := grpc.Method(ctx)
	incoming, _ := metadata.FromIncomingContext(ctx)
	if got := incoming.Get("token"); len(got) != 1 || got[0] != token {
		return none, status.Error(codes.Unauthenticated, "wrong token")
	}
	peer.Print(map[string]any{"method": method, "request": peer.JSON(request)})
	step, ok := next(method)
	if !ok {
		return none, status.Error(codes.OutOfRange, "the script has no more answers")
	}
	if step.Hang {
		<-ctx.Done()
		peer.Print(map[string]any{"method": method, "gone": true})
		return none, status.FromContextError(ctx.Err()).Err()
	}
	if err := grpc.SetTrailer(ctx, metadata.New(step.Trailers)); err != nil {
		return none, err
	}
	if step.Code != codes.OK {
		return none, status.Error(step.Code, step.Message)
	}
	return reply, protojson.Unmarshal(step.Reply, reply)
}

type server struct {
	admission.UnimplementedAdmissionServer
	auth.UnimplementedAuthenticatorServer
	bypass.UnimplementedBypassServer
	hop.UnimplementedHopServer
	hosts.UnimplementedHostMapperServer
	ingress.UnimplementedIngressServer
	limiter.UnimplementedLimiterServer
	observer.UnimplementedObserverServer
	recorder.UnimplementedRecorderServer
	resolver.UnimplementedResolverServer
	rewriter.UnimplementedRewriterServer
	router.UnimplementedRouterServer
	sd.UnimplementedSDServer
}

func (server) Admit(ctx context.Context, r *admission.AdmissionRequest) (*admission.AdmissionReply, error) {
	return answer(ctx, r, &admission.AdmissionReply{})
}

func (server) Authenticate(ctx context.Context, r *auth.AuthenticateRequest) (*auth.AuthenticateReply, error) {
	return answer(ctx, r, &auth.AuthenticateReply{})
}

func (server) Bypass(ctx context.Context, r *bypass.BypassRequest) (*bypass.BypassReply, error) {
	return answer(ctx, r, &bypass.BypassReply{})
}

func (server) Select(ctx context.Context, r *hop.SelectRequest) (*hop.SelectReply, error) {
	return answer(ctx, r, &hop.SelectReply{})
}

func (server) Lookup(ctx context.Context, r *hosts.LookupRequest) (*hosts.LookupReply, error) {
	return answer(ctx, r, &hosts.LookupReply{})
}

func (server) GetRule(ctx context.Context, r *ingress.GetRuleRequest) (*ingress.GetRuleReply, error) {
	return answer(ctx, r, &ingress.GetRuleReply{})
}

func (server) SetRule(ctx context.Context, r *ingress.SetRuleRequest) (*ingress.SetRuleReply, error) {
	return answer(ctx, r, &ingress.SetRuleReply{})
}

func (server) Limit(ctx context.Context, r *limiter.LimitRequest) (*limiter.LimitReply, error) {
	return answer(ctx, r, &limiter.LimitReply{})
}

func (server) Observe(ctx context.Context, r *observer.ObserveRequest) (*observer.ObserveReply, error) {
	return answer(ctx, r, &observer.ObserveReply{})
}

func (server) Record(ctx context.Context, r *recorder.RecordRequest) (*recorder.RecordReply, error) {
	return answer(ctx, r, &recorder.RecordReply{})
}

func (server) Resolve(ctx context.Context, r *resolver.ResolveRequest) (*resolver.ResolveReply, error) {
	return answer(ctx, r, &resolver.ResolveReply{})
}

func (server) Rewrite(ctx context.Context, r *rewriter.RewriteRequest) (*rewriter.RewriteReply, error) {
	return answer(ctx, r, &rewriter.RewriteReply{})
}

func (server) GetRoute(ctx context.Context, r *router.GetRouteRequest) (*router.GetRouteReply, error) {
	return answer(ctx, r, &router.GetRouteReply{})
}

func (server) Register(ctx context.Context, r *sd.RegisterRequest) (*sd.RegisterReply, error) {
	return answer(ctx, r, &sd.RegisterReply{})
}

func (server) Renew(ctx context.Context, r *sd.RenewRequest) (*sd.RenewReply, error) {
	return answer(ctx, r, &sd.RenewReply{})
}

func (server) Deregister(ctx context.Context, r *sd.DeregisterRequest) (*sd.DeregisterReply, error) {
	return answer(ctx, r, &sd.DeregisterReply{})
}

func (server) Get(ctx context.Context, r *sd.GetServiceRequest) (*sd.GetServiceReply, error) {
	return answer(ctx, r, &sd.GetServiceReply{})
}

func main() {
	script := flag.String("script", "", "the file that holds the answers")
	listen := flag.String("listen", "127.0.0.1:0", "host:port or unix:PATH")
	cert := flag.String("cert", "", "our certificate; without it, plaintext")
	key := flag.String("key", "", "its key")
	clientCA := flag.String("client-ca", "", "whoever has no certificate of this authority is refused")
	flag.StringVar(&token, "token", "", "what every caller must send")
	flag.Parse()

	peer.ReadJSON(*script, &steps)
	var options []grpc.ServerOption
	if pair := peer.Pair(*cert, *key); pair != nil {
		config := &tls.Config{Certificates: pair, MinVersion: tls.VersionTLS12}
		if *clientCA != "" {
			config.ClientAuth = tls.RequireAndVerifyClientCert
			config.ClientCAs = peer.Roots(*clientCA)
		}
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}

	s := grpc.NewServer(options...)
	all := server{}
	admission.RegisterAdmissionServer(s, all)
	auth.RegisterAuthenticatorServer(s, all)
	bypass.RegisterBypassServer(s, all)
	hop.RegisterHopServer(s, all)
	hosts.RegisterHostMapperServer(s, all)
	ingress.RegisterIngressServer(s, all)
	limiter.RegisterLimiterServer(s, all)
	observer.RegisterObserverServer(s, all)
	recorder.RegisterRecorderServer(s, all)
	resolver.RegisterResolverServer(s, all)
	rewriter.RegisterRewriterServer(s, all)
	router.RegisterRouterServer(s, all)
	sd.RegisterSDServer(s, all)

	network, address := "tcp", *listen
	if len(address) > 5 && address[:5] == "unix:" {
		network, address = "unix", address[5:]
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		log.Fatal(err)
	}
	peer.Print(map[string]string{"listening": listener.Addr().String()})
	go func() {
		// Ends with whoever started it and holds its standard input.
		_, _ = os.Stdin.Read(make([]byte, 1))
		s.Stop()
	}()
	if err := s.Serve(listener); err != nil {
		log.Fatal(err)
	}
}
