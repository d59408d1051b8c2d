package main

import (
	"context"
	"net"
	"net/http"
	"net/netip"

	ingress "github.com/go-gost/plugin/ingress/proto"
	router "github.com/go-gost/plugin/router/proto"
	sd "github.com/go-gost/plugin/sd/proto"
	"google.golang.org/grpc"
)

// TunnelRules are what the modules of tunnels and virtual networks answer by.
type tunnelRules struct {
	Tunnels  map[string]string      `json:"tunnels"`  // tunnels, or routers, by the host or gateway that leads to them
	Services map[string][]service   `json:"services"` // where something is, by its name
	Routes   map[string][]routeRule `json:"routes"`   // the routes of each router
}

type ruleRequest struct {
	Host    string `json:"host"`
	Service string `json:"service"`
}

type ruleReply struct {
	Endpoint string `json:"endpoint"`
}

func (r *ruleset) getRule(in *ruleRequest) *ruleReply {
	host, _, err := net.SplitHostPort(in.Host)
	if err != nil {
		host = in.Host
	}
	return &ruleReply{Endpoint: r.Tunnels[host]}
}

type setRuleRequest struct {
	Service  string `json:"service"`
	Host     string `json:"host"`
	Endpoint string `json:"endpoint"`
}

func (r *ruleset) setRule(*setRuleRequest) *okReply { return &okReply{OK: true} }

type service struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Node    string `json:"node"`
	Network string `json:"network"`
	Address string `json:"address"`
}

func (r *ruleset) take(*service) *okReply { return &okReply{OK: true} }

type servicesRequest struct {
	Name string `json:"name"`
}

type servicesReply struct {
	Services []service `json:"services"`
}

func (r *ruleset) services(in *servicesRequest) *servicesReply {
	return &servicesReply{Services: r.Services[in.Name]}
}

type routeRequest struct {
	Dst string `json:"dst"`
	ID  string `json:"id"`
}

// GOST's HTTP wire says "net" for the network; over gRPC it is "dst".
type routeRule struct {
	Net     string `json:"net"`
	Gateway string `json:"gateway"`
}

func (r *ruleset) route(in *routeRequest) *routeRule {
	address, err := netip.ParseAddr(in.Dst)
	if err != nil {
		return &routeRule{}
	}
	for _, rule := range r.Routes[in.ID] {
		if netip.MustParsePrefix(rule.Net).Contains(address) {
			return &rule
		}
	}
	return &routeRule{}
}

func serveTunnels(mux *http.ServeMux, r *ruleset) {
	mux.HandleFunc("/ingress", byVerb(verbs{
		http.MethodGet: fromQuery("ingress.GetRule", r.getRule),
		http.MethodPut: fromBody("ingress.SetRule", r.setRule),
	}))
	mux.HandleFunc("/sd", byVerb(verbs{
		http.MethodPost:   fromBody("sd.Register", r.take),
		http.MethodPut:    fromBody("sd.Renew", r.take),
		http.MethodDelete: fromBody("sd.Deregister", r.take),
		http.MethodGet:    fromQuery("sd.Get", r.services),
	}))
	mux.HandleFunc("/router", byVerb(verbs{http.MethodGet: fromQuery("router.GetRoute", r.route)}))
}

type (
	ingressServer struct {
		ingress.UnimplementedIngressServer
		*ruleset
	}
	sdServer struct {
		sd.UnimplementedSDServer
		*ruleset
	}
	routerServer struct {
		router.UnimplementedRouterServer
		*ruleset
	}
)

func registerTunnels(s *grpc.Server, rules *ruleset) {
	ingress.RegisterIngressServer(s, &ingressServer{ruleset: rules})
	sd.RegisterSDServer(s, &sdServer{ruleset: rules})
	router.RegisterRouterServer(s, &routerServer{ruleset: rules})
}

func (s *ingressServer) GetRule(ctx context.Context, in *ingress.GetRuleRequest) (*ingress.GetRuleReply, error) {
	request := &ruleRequest{Host: in.GetHost(), Service: in.GetService()}
	if err := take(ctx, "ingress.GetRule", request); err != nil {
		return nil, err
	}
	return &ingress.GetRuleReply{Endpoint: s.getRule(request).Endpoint}, nil
}

func (s *ingressServer) SetRule(ctx context.Context, in *ingress.SetRuleRequest) (*ingress.SetRuleReply, error) {
	request := &setRuleRequest{Service: in.GetService(), Host: in.GetHost(), Endpoint: in.GetEndpoint()}
	if err := take(ctx, "ingress.SetRule", request); err != nil {
		return nil, err
	}
	return &ingress.SetRuleReply{Ok: s.setRule(request).OK}, nil
}

func told(ctx context.Context, name string, in *sd.Service) error {
	return take(ctx, name, &service{
		ID:      in.GetId(),
		Name:    in.GetName(),
		Node:    in.GetNode(),
		Network: in.GetNetwork(),
		Address: in.GetAddress(),
	})
}

func (s *sdServer) Register(ctx context.Context, in *sd.RegisterRequest) (*sd.RegisterReply, error) {
	return &sd.RegisterReply{Ok: true}, told(ctx, "sd.Register", in.GetService())
}

func (s *sdServer) Renew(ctx context.Context, in *sd.RenewRequest) (*sd.RenewReply, error) {
	return &sd.RenewReply{Ok: true}, told(ctx, "sd.Renew", in.GetService())
}

func (s *sdServer) Deregister(ctx context.Context, in *sd.DeregisterRequest) (*sd.DeregisterReply, error) {
	return &sd.DeregisterReply{Ok: true}, told(ctx, "sd.Deregister", in.GetService())
}

func (s *sdServer) Get(ctx context.Context, in *sd.GetServiceRequest) (*sd.GetServiceReply, error) {
	request := &servicesRequest{Name: in.GetName()}
	if err := take(ctx, "sd.Get", request); err != nil {
		return nil, err
	}
	reply := &sd.GetServiceReply{}
	for _, one := range s.services(request).Services {
		reply.Services = append(reply.Services, &sd.Service{
			Id: one.ID, Name: one.Name, Node: one.Node, Network: one.Network, Address: one.Address,
		})
	}
	return reply, nil
}

func (s *routerServer) GetRoute(ctx context.Context, in *router.GetRouteRequest) (*router.GetRouteReply, error) {
	request := &routeRequest{Dst: in.GetDst(), ID: in.GetId()}
	if err := take(ctx, "router.GetRoute", request); err != nil {
		return nil, err
	}
	rule := s.route(request)
	return &router.GetRouteReply{Dst: rule.Net, Gateway: rule.Gateway}, nil
}
