package auth

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"
)

// Client is where a request comes from. User agent and IP are kept with the session; by IP and Device, failures are
// counted.
type Client struct {
	UserAgent string
	IP        string
	Shared    bool   // the IP may be everybody's, being that of a proxy that nobody has named: no limit is by it alone
	Device    string // what DeviceToken has given the caller's device before; empty: nothing
}

type clientKey struct{}

// caller is the client of a context, and since when it is.
type caller struct {
	client Client
	since  time.Time
}

// WithClient returns a context whose attempts, which begin now, are counted as the client's.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, caller{c, time.Now()})
}

// clientOf is the client of the context; without one, attempts are counted as those of one unknown place.
func clientOf(ctx context.Context) Client { return callerOf(ctx).client }

func callerOf(ctx context.Context) caller {
	c, ok := ctx.Value(clientKey{}).(caller)
	if !ok {
		c.since = time.Now()
	}
	return c
}

type turnKey struct{}

// account is whose secret is tried, once that is known.
type account struct{ name atomic.Pointer[string] }

func (a *account) is(name string) { a.name.Store(&name) }

// withAccount returns a context whose turns in a pool are the account's, where the client's address does not say whose.
func withAccount(ctx context.Context) (context.Context, *account) {
	a := new(account)
	return context.WithValue(ctx, turnKey{}, a), a
}

// turnsOf says whose turns those of the context are; empty: nobody's in particular.
func turnsOf(ctx context.Context) string {
	if isUnlimited(ctx) {
		return ""
	}
	if place := clientOf(ctx).place(); place != "" {
		return "place " + place
	}
	if a, ok := ctx.Value(turnKey{}).(*account); ok {
		if name := a.name.Load(); name != nil {
			return "account " + *name
		}
	}
	return ""
}

type unlimitedKey struct{}

// Unlimited returns a context in which nothing is counted or refused by a limit. It is for who may vouch for what they do,
// such as the operator at the command line, or an administrator who acts for somebody.
func Unlimited(ctx context.Context) context.Context {
	return context.WithValue(ctx, unlimitedKey{}, true)
}

func isUnlimited(ctx context.Context) bool { return ctx.Value(unlimitedKey{}) != nil }

// network is what counts as one address: an IPv4 address, or the /64 of an IPv6 address, all of which is one customer's.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	return netip.PrefixFrom(addr, 64).Masked().String()
}

// Network is what counts as the client's address.
func (c Client) Network() string { return network(c.IP) }

// place is the client's network, if it tells this client from others; empty: it does not.
func (c Client) place() string {
	if _, err := netip.ParseAddr(c.IP); err != nil || c.Shared {
		return ""
	}
	return network(c.IP)
}
