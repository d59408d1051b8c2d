// Client makes the calls of a script with the modules' own stubs, and prints what came of each, one JSON line a call.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"time"

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
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"sallyport.example/interop/peer"
)

// One call of the script.
type call struct {
	Method    string          `json:"method"`
	Request   json.RawMessage `json:"request"`
	Token     string          `json:"token"`
	TimeoutMs int             `json:"timeoutMs"`
}

type invoke func(context.Context, grpc.ClientConnInterface, json.RawMessage, ...grpc.CallOption) (proto.Message, error)

// A method of a stub, callable with JSON.
func stub[Client, Request any, Pointer interface {
	*Request
	proto.Message
}, Reply proto.Message](
	create func(grpc.ClientConnInterface) Client,
	method func(Client, context.Context, Pointer, ...grpc.CallOption) (Reply, error),
) invoke {
	return func(ctx context.Context, to grpc.ClientConnInterface, text json.RawMessage, options ...grpc.CallOption) (proto.Message, error) {
		request := Pointer(new(Request))
		if err := protojson.Unmarshal(text, request); err != nil {
			log.Fatal(err)
		}
		return method(create(to), ctx, request, options...)
	}
}

var methods = map[string]invoke{
	"/proto.Admission/Admit":            stub(admission.NewAdmissionClient, admission.AdmissionClient.Admit),
	"/proto.Authenticator/Authenticate": stub(auth.NewAuthenticatorClient, auth.AuthenticatorClient.Authenticate),
	"/proto.Bypass/Bypass":              stub(bypass.NewBypassClient, bypass.BypassClient.Bypass),
	"/proto.Hop/Select":                 stub(hop.NewHopClient, hop.HopClient.Select),
	"/proto.HostMapper/Lookup":          stub(hosts.NewHostMapperClient, hosts.HostMapperClient.Lookup),
	"/proto.Ingress/GetRule":            stub(ingress.NewIngressClient, ingress.IngressClient.GetRule),
	"/proto.Ingress/SetRule":            stub(ingress.NewIngressClient, ingress.IngressClient.SetRule),
	"/proto.Limiter/Limit":              stub(limiter.NewLimiterClient, limiter.LimiterClient.Limit),
	"/proto.Observer/Observe":           stub(observer.NewObserverClient, observer.ObserverClient.Observe),
	"/proto.Recorder/Record":            stub(recorder.NewRecorderClient, recorder.RecorderClient.Record),
	"/proto.Resolver/Resolve":           stub(resolver.NewResolverClient, resolver.ResolverClient.Resolve),
	"/proto.Rewriter/Rewrite":           stub(rewriter.NewRewriterClient, rewriter.RewriterClient.Rewrite),
	"/proto.Router/GetRoute":            stub(router.NewRouterClient, router.RouterClient.GetRoute),
	"/proto.SD/Register":                stub(sd.NewSDClient, sd.SDClient.Register),
	"/proto.SD/Renew":                   stub(sd.NewSDClient, sd.SDClient.Renew),
	"/proto.SD/Deregister":              stub(sd.NewSDClient, sd.SDClient.Deregister),
	"/proto.SD/Get":                     stub(sd.NewSDClient, sd.SDClient.Get),
	"/grpc.health.v1.Health/Check":      stub(grpc_health_v1.NewHealthClient, grpc_health_v1.HealthClient.Check),
}

func main() {
	script := flag.String("script", "", "the file that holds the calls")
	target := flag.String("target", "", "host:port or unix:PATH")
	ca := flag.String("ca", "", "whom we trust; without it, plaintext")
	cert := flag.String("cert", "", "our certificate, for servers that ask for one")
	key := flag.String("key", "", "its key")
	compress := flag.Bool("gzip", false, "compress every request")
	flag.Parse()

	trust := insecure.NewCredentials()
	if *ca != "" {
		trust = credentials.NewTLS(&tls.Config{
			RootCAs:      peer.Roots(*ca),
			Certificates: peer.Pair(*cert, *key),
			MinVersion:   tls.VersionTLS12,
		})
	}
	var options []grpc.CallOption
	if *compress {
		options = append(options, grpc.UseCompressor(gzip.Name))
	}
	connection, err := grpc.NewClient(*target, grpc.WithTransportCredentials(trust))
	if err != nil {
		log.Fatal(err)
	}

	var calls []call
	peer.ReadJSON(*script, &calls)
	for _, one := range calls {
		timeout := 10 * time.Second
		if one.TimeoutMs > 0 {
			timeout = time.Duration(one.TimeoutMs) * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		if one.Token != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "token", one.Token)
		}
		var trailers metadata.MD
		reply, err := methods[one.Method](ctx, connection, one.Request, append(options, grpc.Trailer(&trailers))...)
		cancel()
		result := map[string]any{"method": one.Method, "trailers": trailers}
		if err == nil {
			result["reply"] = peer.JSON(reply)
		} else {
			result["code"] = status.Code(err)
			result["message"] = status.Convert(err).Message()
		}
		peer.Print(result)
	}
}
