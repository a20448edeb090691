package auth

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// MaxExplained is how many identities, pending requests and counts Explain tells at most, each.
const MaxExplained = 20

// ExplainQuery says about whom Explain is asked.
type ExplainQuery struct {
	Email      string       // in any spelling
	Identities []IdentityID // further ones that are known to be about the same person
	Watched    []string     // the words before an identity's id in the keys by which the caller watches LimitToken
}

// Known is what is kept about an address, for the operator who is asked why somebody cannot get in. Nothing of it opens
// anything: there are no secrets, no tokens and no hashes of any.
type Known struct {
	// Identities are those that were asked for, then those with a way to sign in that names the address, then who registers with it.
	Identities []KnownIdentity
	Pending    []Pending // by when they were asked for
	Throttles  []Count   // of windows that are not over, the longest first
	More       bool      // there is more of one of them than is told
}

// KnownIdentity is an identity, with all its ways to sign in.
type KnownIdentity struct {
	Identity
	WithSecret []string  // of its provider identities, by id, those that keep a secret, such as a password
	Sessions   int       // that live
	LastUsed   time.Time // of the session that was used last, as far as sessions are kept; zero: none is
	Registers  string    // the address that it registers with, and has no way to sign in until that is proved; empty: it does not
}

// HasSecret reports whether the way to sign in keeps a secret.
func (i KnownIdentity) HasSecret(providerIdentity string) bool {
	return slices.Contains(i.WithSecret, providerIdentity)
}

// The kinds of Pending.
const (
	PendingReset        = "password_reset"
	PendingEmailChange  = "email_change"
	PendingVerification = "verification"
	PendingRegistration = "registration"
)

// Pending is something that was asked for and waits for a link to be opened.
type Pending struct {
	Kind        string
	IdentityID  IdentityID
	Provider    string    // of the way to sign in that it is about; empty: of none in particular
	Email       string    // where the link goes
	From        string    // of a change of address: the address there is; empty: none
	Channel     Channel   // of a reset; otherwise empty, and by mail
	RequestedAt time.Time // when it was asked for
	ExpiresAt   time.Time // until when the link is good; zero: it has not left yet
}

// CountPlace is the Limit of a Count whose limit cannot be told: it is of one address or of one device, and which is kept
// as a hash only.
const CountPlace = "account_place"

// Count is how often something has failed, or was done, in a window that is not over.
type Count struct {
	Limit      string // its name, as Throttled.Limit; or CountPlace
	IdentityID IdentityID
	Provider   string // of the account; empty: it is counted by identity, or by the address for whatever provider
	Done       int    // how often it was done, or has failed
	Begun      int    // attempts that have begun and are not settled
	Most       int    // how often it may; of CountPlace, at the least
	Until      time.Time
	Refuses    bool // there is no room in it
	OfPlace    bool // it is of one address or device, and concerns nobody who comes from elsewhere
	OfMails    bool // it is of mails, or of requests for them
}

// Explain gathers what is kept about an address: a constant number of statements, and bounded lists. It changes nothing.
// email.ErrInvalid: it is no address.
func (s *Service) Explain(ctx context.Context, q ExplainQuery) (Known, error) {
	address, err := CanonicalEmail(q.Email)
	if err != nil {
		return Known{}, err
	}
	providers := make([]string, 0, len(s.providers))
	for _, p := range s.ListAuthProviders() {
		providers = append(providers, p.ID)
	}
	ids, err := s.store.identitiesBy(ctx, address, providers, MaxExplained+1)
	if err != nil {
		return Known{}, err
	}
	ids = distinct(slices.Concat(q.Identities, ids))
	k := Known{More: len(ids) > MaxExplained}
	ids = ids[:min(len(ids), MaxExplained)]
	if k.Identities, err = s.knownIdentities(ctx, ids); err != nil {
		return Known{}, err
	}
	if k.Pending, err = s.store.pending(ctx, k.Identities, address, MaxExplained); err != nil {
		return Known{}, err
	}
	k.More = k.More || len(k.Pending) > MaxExplained
	k.Pending = k.Pending[:min(len(k.Pending), MaxExplained)]
	if k.Throttles, err = s.counts(ctx, address, providers, k.Identities, q.Watched); err != nil {
		return Known{}, err
	}
	k.More = k.More || len(k.Throttles) > MaxExplained
	k.Throttles = k.Throttles[:min(len(k.Throttles), MaxExplained)]
	return k, nil
}

// distinct leaves out what comes a second time.
func distinct[T comparable](all []T) (once []T) {
	for _, v := range all {
		if !slices.Contains(once, v) {
			once = append(once, v)
		}
	}
	return once
}

// ofMails are limits of mails, and of requests for them.
var ofMails = []string{limitResetMail.Name, limitEmailChange.Name, limitVerificationAsk.Name, limitVerificationAll.Name}

func (s *Service) knownIdentities(ctx context.Context, ids []IdentityID) (known []KnownIdentity, err error) {
	found, err := s.store.identitiesByID(ctx, ids)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	use, err := s.store.useOf(ctx, ids)
	if err != nil {
		return nil, err
	}
	secrets, err := s.store.withSecret(ctx, ids)
	if err != nil {
		return nil, err
	}
	registering, err := s.store.registeringWith(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, i := range found {
		u := use[i.ID]
		known = append(known, KnownIdentity{Identity: i, WithSecret: secrets[i.ID], Sessions: u.Living, LastUsed: database.UTC(u.LastUsed), Registers: registering[i.ID]})
	}
	return known, nil
}

// counts are what is counted about the address and the identities in windows that are not over. A count is known by a hash,
// so this asks for all that there can be, and for all that belong to the accounts.
func (s *Service) counts(ctx context.Context, address string, providers []string, identities []KnownIdentity, watched []string) ([]Count, error) {
	o := s.options.Throttle
	if o.Disabled {
		return nil, nil
	}
	known := map[string]Count{} // by id
	subjects := map[string]Count{}
	note := func(b bucket, c Count) {
		c.Limit, c.Most = b.limit.Name, b.limit.Most
		known[b.id] = c
	}
	account := func(provider, entityID string, of IdentityID) {
		subject, c := subjectOf(provider, entityID), Count{Provider: provider, IdentityID: of}
		subjects[subject] = c
		for _, l := range []Limit{o.Account, o.day(), limitResetMail} {
			note(l.bucket(subject), c)
		}
	}
	for _, provider := range providers {
		account(provider, address, "")
	}
	note(limitVerificationAll.bucket(mailboxOf(address)), Count{})
	for _, i := range identities {
		c := Count{IdentityID: i.ID}
		subjects[subjectOfIdentity(i.ID)] = c
		for _, l := range []Limit{limitAgain, limitAgainDay, limitEmailChange, limitVerificationAsk} {
			note(l.bucket(string(i.ID)), c)
		}
		for _, word := range watched {
			note(LimitToken.bucket(word+" "+string(i.ID)), c)
		}
		for _, p := range i.Providers {
			account(p.Provider, p.EntityID, i.ID)
		}
	}
	now := database.Now()
	rows, err := s.store.livingThrottles(ctx, known, subjects, now, MaxExplained+1)
	if err != nil {
		return nil, err
	}
	var counts []Count
	for _, r := range rows {
		c, named := known[r.ID]
		if !named {
			c = subjects[r.Subject]
			c.Limit, c.Most = CountPlace, min(o.AccountAddress.Most, limitDevice.Most)
			if r.ExpiresAt.After(now.Add(max(o.AccountAddress.Per, limitDevice.Per))) { // it can be no other any more
				c.Limit, c.Most = limitDeviceDay.Name, limitDeviceDay.Most
			}
		}
		c.Done, c.Begun, c.Until = int(r.Failed), int(r.Pending), database.UTC(r.ExpiresAt)
		c.Refuses, c.OfPlace, c.OfMails = c.Done >= c.Most, !named, slices.Contains(ofMails, c.Limit)
		if c.Done > 0 || c.Begun > 0 {
			counts = append(counts, c)
		}
	}
	slices.SortStableFunc(counts, func(a, b Count) int { return cmp.Or(b.Until.Compare(a.Until), cmp.Compare(a.Limit, b.Limit)) })
	return counts, nil
}
