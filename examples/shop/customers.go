package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// welcome is what a new customer begins with.
const welcome = 100

type customer struct {
	bun.BaseModel `bun:"table:shop_customer,alias:c"`

	ID            string `bun:",pk"`
	Email         string `bun:",nullzero"`
	EmailVerified bool
	Name          string
	Points        int
	CreatedAt     time.Time
}

// customers keeps the customers. It is the link layer's Actors of the type customer, and a Matcher, because a customer is known
// by their address.
type customers struct{ db *database.DB }

var (
	_ link.Actors  = (*customers)(nil)
	_ link.Matcher = (*customers)(nil)
)

func newCustomers(db *database.DB) *customers { return &customers{db} }

func (*customers) ActorType() string { return "customer" }

func (s *customers) FindActor(ctx context.Context, id string) (link.Actor, error) {
	return s.find(ctx, "id = ?", id)
}

func (s *customers) FindActorByEmail(ctx context.Context, address string) (link.Actor, error) {
	return s.find(ctx, "email = ?", address)
}

func (s *customers) find(ctx context.Context, where, value string) (link.Actor, error) {
	var c customer
	err := s.db.Conn(ctx).NewSelect().Model(&c).Where(where, value).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return link.Actor{}, link.ErrNoActor
	}
	return actor(c), err
}

// actor is what the link layer knows of a customer; Record is handed back to VerifyActor, and to the routes.
func actor(c customer) link.Actor {
	return link.Actor{ID: c.ID, Email: c.Email, EmailVerified: c.EmailVerified, Record: c}
}

// CreateActor makes a customer of a newcomer, in the transaction that links them. Of several at once with one address one is
// made; the others get that one.
func (s *customers) CreateActor(ctx context.Context, d user.Draft) (link.Actor, bool, error) {
	c := customer{ID: string(d.ID), Email: d.Email, EmailVerified: d.EmailVerified, Name: name(d), Points: welcome, CreatedAt: database.Now()}
	created, err := database.Touched(s.db.Conn(ctx).NewInsert().Model(&c).On("CONFLICT (email) DO NOTHING").Exec(ctx))
	if err != nil || created {
		return actor(c), created, err
	}
	a, err := s.FindActorByEmail(ctx, d.Email)
	return a, false, err
}

// name is what the provider calls the newcomer.
func name(d user.Draft) string {
	var parts []string
	for _, part := range []*string{d.FirstName, d.LastName} {
		if part != nil {
			parts = append(parts, *part)
		}
	}
	return strings.Join(parts, " ")
}

func (s *customers) VerifyActor(ctx context.Context, a link.Actor) (bool, error) {
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*customer)(nil)).Set("email_verified = ?", true).
		Where("id = ?", a.ID).Where("email = ?", a.Email).Exec(ctx))
}

func (s *customers) DeleteActor(ctx context.Context, id string) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*customer)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}
