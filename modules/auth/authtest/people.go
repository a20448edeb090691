package authtest

import (
	"context"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// withPeople puts a link layer over a trial, on a database of its own, by which whoever signs in becomes a user, with an address or
// without; a sign-in joins the user whose address it has, if both have proved it.
func (x *trial) withPeople() *trial {
	x.Helper()
	db := databasetest.SQLite(x.T).Open(x.T, user.Migrations(), auth.Migrations(), link.Migrations())
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		x.Fatal(err)
	}
	p := x.provider
	if x.steps != nil {
		p = x.steps.asProvider()
	}
	users, err := user.New(user.Params{DB: db, Keys: keys})
	if err != nil {
		x.Fatal(err)
	}
	over := *x
	over.db = db
	over.service, err = auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{p},
		Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}})
	if err != nil {
		x.Fatal(err)
	}
	policy := link.PolicyFunc(func(_ context.Context, n link.Newcomer) (link.Decision, error) {
		if n.Match != nil {
			return link.Join(n.Match.ID), nil
		}
		return link.Create(n.Draft()), nil
	})
	over.links, err = link.New(link.Params{DB: db, Users: users, Auth: over.service, Policy: policy})
	if err != nil {
		x.Fatal(err)
	}
	return &over
}

// signIn lets somebody in by the link layer.
func (x *trial) signIn(in auth.Input) (link.Login, error) {
	if x.steps == nil {
		return x.links.SignIn(x.Context(), link.ActorUser, x.provider.Name(), in, auth.Client{})
	}
	r, err := x.links.Finish(x.Context(), x.provider.Name(), in, auth.Return{ActorType: link.ActorUser, Browser: browser}, auth.Client{}, nil)
	return r.Login, err
}

// first has many sign in for the first time at once.
func (x *trial) first() {
	const callers = 12
	p := x.withPeople()
	p.register()
	arrivals := p.arriveMany(callers)
	became := make([]string, callers)
	for i, err := range databasetest.Together(callers, func(i int) error {
		l, err := p.signIn(arrivals[i].input)
		became[i] = l.ActorID
		return err
	}) {
		if err != nil {
			x.Errorf("first sign-in %d of %d at once: %v", i, callers, err)
		} else if became[i] == "" || became[i] != became[0] {
			x.Errorf("of %d first sign-ins at once one became user %q and another %q: they must be one", callers, became[0], became[i])
		}
	}
	n, err := p.db.Conn(x.Context()).NewSelect().TableExpr("latchkey_user").Count(x.Context())
	if err != nil || n != 1 {
		x.Errorf("%d first sign-ins at once made %d users (%v), want one", callers, n, err)
	}
}

// unverified has somebody claim the address of Good.
func (x *trial) unverified() {
	x.register()
	good := x.mustSignIn("Good")
	i, err := x.enter(x.arriveBy(x.Unverified).input)
	switch {
	case err != nil:
		x.Fatalf("Unverified is refused: %v", err)
	case i.EntityID() == good.EntityID():
		x.Errorf("Unverified is entity %q, as Good is: an entity id must be the person's own, and an address is not", i.EntityID())
	case i.Proved.EmailVerified:
		x.Errorf("the provider vouches for the address %q of somebody who has not proved it: EmailVerified is only for a mailbox that "+
			"somebody has proved to have, and what is missing or is no truth value is not true", i.Proved.Email)
	}

	p := x.withPeople()
	p.register()
	ada, err := p.signIn(p.arrive(nil).input)
	if err != nil {
		x.Fatalf("Good is refused by the link layer: %v", err)
	}
	eve, err := p.signIn(p.arriveBy(x.Unverified).input)
	if err == nil && eve.ActorID == ada.ActorID {
		x.Error("who has not proved the address of Good is let into the account of Good")
	}
}
