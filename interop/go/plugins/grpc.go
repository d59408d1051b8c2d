package main

import (
	"context"

	admission "github.com/go-gost/plugin/admission/proto"
	auth "github.com/go-gost/plugin/auth/proto"
	bypass "github.com/go-gost/plugin/bypass/proto"
	hop "github.com/go-gost/plugin/hop/proto"
	hosts "github.com/go-gost/plugin/hosts/proto"
	limiter "github.com/go-gost/plugin/limiter/traffic/proto"
	observer "github.com/go-gost/plugin/observer/proto"
	recorder "github.com/go-gost/plugin/recorder/proto"
	resolver "github.com/go-gost/plugin/resolver/proto"
	rewriter "github.com/go-gost/plugin/rewriter/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Each server is the module's published stub: what it is asked is printed and answered as over HTTP.
type (
	admissionServer struct {
		admission.UnimplementedAdmissionServer
		*ruleset
	}
	authServer struct {
		auth.UnimplementedAuthenticatorServer
		*ruleset
	}
	bypassServer struct {
		bypass.UnimplementedBypassServer
		*ruleset
	}
	hopServer struct {
		hop.UnimplementedHopServer
		*ruleset
	}
	hostsServer struct {
		hosts.UnimplementedHostMapperServer
		*ruleset
	}
	resolverServer struct {
		resolver.UnimplementedResolverServer
		*ruleset
	}
	limiterServer struct {
		limiter.UnimplementedLimiterServer
		*ruleset
	}
	recorderServer struct {
		recorder.UnimplementedRecorderServer
		*ruleset
	}
	observerServer struct {
		observer.UnimplementedObserverServer
		*ruleset
	}
	rewriterServer struct {
		rewriter.UnimplementedRewriterServer
		*ruleset
	}
)

func registerAll(s *grpc.Server, rules *ruleset) {
	admission.RegisterAdmissionServer(s, &admissionServer{ruleset: rules})
	auth.RegisterAuthenticatorServer(s, &authServer{ruleset: rules})
	bypass.RegisterBypassServer(s, &bypassServer{ruleset: rules})
	hop.RegisterHopServer(s, &hopServer{ruleset: rules})
	hosts.RegisterHostMapperServer(s, &hostsServer{ruleset: rules})
	resolver.RegisterResolverServer(s, &resolverServer{ruleset: rules})
	limiter.RegisterLimiterServer(s, &limiterServer{ruleset: rules})
	recorder.RegisterRecorderServer(s, &recorderServer{ruleset: rules})
	observer.RegisterObserverServer(s, &observerServer{ruleset: rules})
	rewriter.RegisterRewriterServer(s, &rewriterServer{ruleset: rules})
	registerTunnels(s, rules)
}

// Take prints a question, if its sender knows the token.
func take(ctx context.Context, module string, request any) error {
	incoming, _ := metadata.FromIncomingContext(ctx)
	if got := incoming.Get("token"); len(got) != 1 || got[0] != token {
		return status.Error(codes.Unauthenticated, codes.Unauthenticated.String())
	}
	asked(module, "grpc", request)
	return nil
}

func (s *admissionServer) Admit(ctx context.Context, in *admission.AdmissionRequest) (*admission.AdmissionReply, error) {
	request := &admitRequest{Service: in.GetService(), Network: in.GetNetwork(), Addr: in.GetAddr()}
	if err := take(ctx, "admission", request); err != nil {
		return nil, err
	}
	return &admission.AdmissionReply{Ok: s.admit(request).OK}, nil
}

func (s *authServer) Authenticate(ctx context.Context, in *auth.AuthenticateRequest) (*auth.AuthenticateReply, error) {
	request := &authRequest{
		Service:               in.GetService(),
		Username:              in.GetUsername(),
		Password:              in.GetPassword(),
		Client:                in.GetClient(),
		ClientCN:              in.GetClientCn(),
		ClientSAN:             in.GetClientSan(),
		ClientCertFingerprint: in.GetClientCertFingerprint(),
	}
	if err := take(ctx, "auther", request); err != nil {
		return nil, err
	}
	reply := s.authenticate(request)
	return &auth.AuthenticateReply{Ok: reply.OK, Id: reply.ID}, nil
}

func (s *bypassServer) Bypass(ctx context.Context, in *bypass.BypassRequest) (*bypass.BypassReply, error) {
	request := &bypassRequest{
		Service: in.GetService(),
		Network: in.GetNetwork(),
		Addr:    in.GetAddr(),
		Client:  in.GetClient(),
		Host:    in.GetHost(),
		Path:    in.GetPath(),
	}
	if err := take(ctx, "bypass", request); err != nil {
		return nil, err
	}
	return &bypass.BypassReply{Ok: s.bypass(request).OK}, nil
}

func (s *hopServer) Select(ctx context.Context, in *hop.SelectRequest) (*hop.SelectReply, error) {
	request := &hopRequest{
		Network: in.GetNetwork(),
		Addr:    in.GetAddr(),
		Host:    in.GetHost(),
		Path:    in.GetPath(),
		Client:  in.GetClient(),
		Src:     in.GetSrc(),
	}
	if err := take(ctx, "hop", request); err != nil {
		return nil, err
	}
	return &hop.SelectReply{Node: s.selectNode(request)}, nil
}

func (s *hostsServer) Lookup(ctx context.Context, in *hosts.LookupRequest) (*hosts.LookupReply, error) {
	request := &nameRequest{Network: in.GetNetwork(), Host: in.GetHost(), Client: in.GetClient()}
	if err := take(ctx, "hosts", request); err != nil {
		return nil, err
	}
	reply := s.lookup(request)
	return &hosts.LookupReply{Ips: reply.IPs, Ok: reply.OK}, nil
}

func (s *resolverServer) Resolve(ctx context.Context, in *resolver.ResolveRequest) (*resolver.ResolveReply, error) {
	request := &nameRequest{Network: in.GetNetwork(), Host: in.GetHost(), Client: in.GetClient()}
	if err := take(ctx, "resolver", request); err != nil {
		return nil, err
	}
	reply := s.resolve(request)
	return &resolver.ResolveReply{Ips: reply.IPs, Ok: reply.OK}, nil
}

func (s *limiterServer) Limit(ctx context.Context, in *limiter.LimitRequest) (*limiter.LimitReply, error) {
	request := &limitRequest{
		Service: in.GetService(),
		Scope:   in.GetScope(),
		Network: in.GetNetwork(),
		Addr:    in.GetAddr(),
		Client:  in.GetClient(),
		Src:     in.GetSrc(),
	}
	if err := take(ctx, "limiter", request); err != nil {
		return nil, err
	}
	reply := s.limit(request)
	return &limiter.LimitReply{In: reply.In, Out: reply.Out}, nil
}

func (s *recorderServer) Record(ctx context.Context, in *recorder.RecordRequest) (*recorder.RecordReply, error) {
	request := &dataRequest{Data: in.GetData(), Metadata: in.GetMetadata()}
	if err := take(ctx, "recorder", request); err != nil {
		return nil, err
	}
	return &recorder.RecordReply{Ok: s.record(request).OK}, nil
}

func (s *observerServer) Observe(ctx context.Context, in *observer.ObserveRequest) (*observer.ObserveReply, error) {
	request := &observeRequest{}
	for _, one := range in.GetEvents() {
		seen := event{Kind: one.GetKind(), Service: one.GetService(), Client: one.GetClient(), Type: one.GetType()}
		if one.Stats != nil {
			seen.Stats = &stats{
				TotalConns:   one.Stats.GetTotalConns(),
				CurrentConns: one.Stats.GetCurrentConns(),
				InputBytes:   one.Stats.GetInputBytes(),
				OutputBytes:  one.Stats.GetOutputBytes(),
				TotalErrs:    one.Stats.GetTotalErrs(),
			}
		}
		if one.Status != nil {
			seen.Status = &serviceState{State: one.Status.GetState(), Msg: one.Status.GetMsg()}
		}
		request.Events = append(request.Events, seen)
	}
	if err := take(ctx, "observer", request); err != nil {
		return nil, err
	}
	return &observer.ObserveReply{Ok: s.observe(request).OK}, nil
}

func (s *rewriterServer) Rewrite(ctx context.Context, in *rewriter.RewriteRequest) (*rewriter.RewriteReply, error) {
	request := &dataRequest{Data: in.GetData(), Metadata: in.GetMetadata()}
	if err := take(ctx, "rewriter", request); err != nil {
		return nil, err
	}
	reply := s.rewrite(request)
	return &rewriter.RewriteReply{Ok: reply.OK, Data: reply.Data}, nil
}
