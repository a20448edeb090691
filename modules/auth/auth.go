package auth

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Action is what a caller wants to prove themselves for.
type Action int

// The actions.
const (
	SignIn Action = iota + 1 // to be let in; a first sign-in makes the identity
	SignUp                   // to get an identity with a provider that has a registration of its own
	Change                   // to replace the secret of an identity that is there; ends its sessions
)

// Proof is what a provider has established, before anything is written. Only this package makes one; the zero Proof
// proves nothing.
type Proof struct {
	action    Action
	provider  string
	assertion Assertion
	email     string   // of the assertion, canonical
	basis     snapshot // what was stored when it was proved

	spends string    // hash of the one-time token that this proof uses up; empty: none
	keeps  Session   // the session that outlives a Change, being the one it was made in; empty: none
	again  SessionID // the session in which ProveAgain made it; empty: another made it
	unseen bool      // it is of ProveRegistration, which has looked at nothing that is kept

	failures int // that came before it at the account
}

// snapshot is the stored state that a proof rests on; the zero value says that there was nothing.
type snapshot struct {
	identity    IdentityID
	ver         int64
	secret      []byte
	email       string // claimed or proved
	provedEmail string
	made        time.Time
}

// String names the provider and nothing else: a proof holds a secret.
func (p Proof) String() string { return "proof by " + p.provider }

// GoString is String.
func (p Proof) GoString() string { return p.String() }

// LogValue is String, for slog.
func (p Proof) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Identity returns the id of the identity that the proof is about; empty if there was none when it was proved.
func (p Proof) Identity() IdentityID { return p.basis.identity }

// ProvedEmail returns the address whose mailbox is proved to be the caller's, by the provider or earlier by us; empty if
// there is none.
func (p Proof) ProvedEmail() string {
	if p.assertion.Profile.EmailVerified {
		return p.email
	}
	if p.email == p.basis.provedEmail {
		return p.basis.provedEmail
	}
	return ""
}

// ProvesAnew reports whether the provider proves an address that was not known to be the caller's before.
func (p Proof) ProvesAnew() bool {
	return p.assertion.Profile.EmailVerified && p.email != p.basis.provedEmail
}

// Options are the module's settings. The zero value is usable.
type Options struct {
	Issuer     string        // iss and aud of access tokens; "latchkey" if empty
	Algorithm  string        // AlgEdDSA (if empty) or AlgHS256
	TokenTTL   time.Duration // lifetime of an access token; 24 h if zero
	SessionTTL time.Duration // lifetime of a session; 30 days if zero
	IdleTTL    time.Duration // a cookie that was not used for so long is dead; 12 h if zero, and not less than MinIdleTTL
	// MaxSessions is how many sessions an identity may have at a time: a sign-in beyond them ends the oldest. Zero: any number.
	MaxSessions int
	Throttle    ThrottleOptions
}

// MinIdleTTL is the least that Options.IdleTTL can be, because use is noted only once a minute.
const MinIdleTTL = 2 * noteUseEvery

// Service keeps identities and sessions. It is safe for concurrent use.
type Service struct {
	store     store
	db        *database.DB
	events    event.Emitter
	log       *slog.Logger
	providers map[string]Provider
	options   Options
	signer    signer
	cache     cache
	onDelete  []func(context.Context, []IdentityID) error
	names     []func(context.Context, IdentityID) ([]string, error)
	tellAt    []func(context.Context, IdentityID) (string, error)
	keys      *keyring.Ring
	gates     gates
	counting  chan struct{} // a place for each transaction over counts; nil: any number
}

// New returns the auth module's service. It fails if a provider's name cannot be used or is used twice, or if a provider
// can neither Authenticate nor Begin and Finish.
func New(p Params) (*Service, error) {
	if p.DB == nil || p.Keys == nil {
		return nil, errors.New("auth: New needs a database and a keyring")
	}
	s := &Service{
		store:     store{p.DB},
		db:        p.DB,
		events:    cmp.Or(p.Events, event.Discard),
		log:       cmp.Or(p.Log, slog.Default()).With("module", "auth"),
		providers: map[string]Provider{},
		options: Options{
			Issuer:     cmp.Or(p.Options.Issuer, "latchkey"),
			Algorithm:  cmp.Or(p.Options.Algorithm, AlgEdDSA),
			TokenTTL:   cmp.Or(p.Options.TokenTTL, 24*time.Hour),
			SessionTTL: cmp.Or(p.Options.SessionTTL, 30*24*time.Hour),
			IdleTTL:    cmp.Or(p.Options.IdleTTL, 12*time.Hour),

			MaxSessions: p.Options.MaxSessions,
			Throttle:    p.Options.Throttle.filled(),
		},
		keys: p.Keys,
	}
	if p.DB.Dialect() == database.Postgres {
		s.counting = make(chan struct{}, countingAtOnce(p.DB.MaxConns()))
	}
	switch o := s.options; {
	case o.TokenTTL < 0 || o.SessionTTL < 0 || o.MaxSessions < 0:
		return nil, errors.New("auth: TokenTTL, SessionTTL and MaxSessions must not be negative")
	case o.IdleTTL < MinIdleTTL:
		return nil, fmt.Errorf("auth: IdleTTL must be at least %v: that a session is in use is noted only every %v", MinIdleTTL, noteUseEvery)
	}
	var faults []error
	for _, provider := range p.Providers {
		if wrong := ProviderFault(provider); wrong != nil {
			faults = append(faults, wrong)
		} else if err := s.add(provider); err != nil {
			return nil, err
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	if len(s.providers) == 0 {
		s.log.Warn("there is no provider, so nobody can sign in: add one, such as emailpass.Module")
	}
	if err := p.Settings.check(s.providers); err != nil {
		return nil, err
	}
	var err error
	s.signer, err = newSigner(p.Keys, s.options)
	return s, err
}

func (s *Service) add(p Provider) error {
	name := p.Name()
	_, one := p.(Authenticator)
	_, two := p.(Challenger)
	switch {
	case !providerName.MatchString(name):
		return fmt.Errorf("auth: provider name %q: use lower-case letters, digits and hyphens, beginning with a letter", name)
	case ReservedName(name) || name == "user":
		return fmt.Errorf("auth: a provider cannot be called %q: the name would shadow a route", name)
	case s.providers[name] != nil:
		return fmt.Errorf("auth: two providers are called %q", name)
	case !one && !two:
		return fmt.Errorf("auth: provider %q has neither Authenticate nor Begin and Finish: it can prove nobody", name)
	}
	s.providers[name] = p
	return nil
}

// ListAuthProviders describes the providers, by name.
func (s *Service) ListAuthProviders() []ProviderInfo {
	infos := make([]ProviderInfo, 0, len(s.providers))
	for _, name := range slices.Sorted(maps.Keys(s.providers)) {
		infos = append(infos, describe(s.providers[name]))
	}
	return infos
}

// Authenticate lets a caller in: Prove for SignIn, then Admit. The error is ErrInvalidCredentials, alike for a wrong
// secret and an unknown entity, ErrInput, or a failure of the provider.
func (s *Service) Authenticate(ctx context.Context, provider string, in Input) (Identity, error) {
	return s.proveAndAdmit(ctx, SignIn, provider, in)
}

// Register gives a caller an identity with a provider that has a registration of its own. Registering again with the
// same secret returns the identity there is, unless its app metadata says that it is in use: ErrIdentityExists.
func (s *Service) Register(ctx context.Context, provider string, in Input) (Identity, error) {
	ctx = WithClient(ctx, clientOf(ctx)) // it begins now
	i, err := s.proveAndAdmit(ctx, SignUp, provider, in)
	if err == nil && !i.Proved.Created && len(i.AppMetadata) > 0 {
		return Identity{}, ErrIdentityExists
	}
	return i, err
}

// UpdateProvider replaces the secret of an entity and ends its sessions. The caller must have made sure that whoever asks
// for it may. ErrInvalidCredentials: there is no such entity.
func (s *Service) UpdateProvider(ctx context.Context, provider string, in Input) (Identity, error) {
	return s.proveAndAdmit(ctx, Change, provider, in)
}

// ValidateCallback is the second step of a provider of two: Finish, then Admit.
func (s *Service) ValidateCallback(ctx context.Context, provider string, in Input) (Identity, error) {
	proof, err := s.Finish(ctx, provider, in)
	if err != nil {
		return Identity{}, err
	}
	return s.admitAlone(ctx, proof)
}

// attempts is how often a caller may Prove and Admit anew when Admit says ErrProofOutdated.
const attempts = 3

func (s *Service) proveAndAdmit(ctx context.Context, action Action, provider string, in Input) (Identity, error) {
	return s.admitted(ctx, func() (Proof, error) { return s.Prove(ctx, action, provider, in) })
}

// admitted admits what is proved, proving again as often as a caller may.
func (s *Service) admitted(ctx context.Context, prove func() (Proof, error)) (i Identity, err error) {
	for range attempts {
		proof, err := prove()
		if err != nil {
			return Identity{}, err
		}
		if i, err = s.admitAlone(ctx, proof); !errors.Is(err, ErrProofOutdated) {
			return i, err
		}
	}
	return Identity{}, ErrProofOutdated
}

// admitAlone is Admit where nothing else is part of the transaction.
func (s *Service) admitAlone(ctx context.Context, p Proof) (i Identity, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if i, err = s.Admit(ctx, p); err != nil || !i.Proved.NewlyVerified {
			return err
		}
		return s.CancelEmailChanges(ctx, i.Proved.Email)
	})
	return i, err
}

// Prove lets the provider establish who the caller is. It is slow, and counts what fails to SignIn and to SignUp: call it
// outside transactions, so that a count outlives what is rolled back. ErrThrottled: there have been too many failures, at
// this account or from this address, as WithClient says; ErrBusy: too many are at it.
func (s *Service) Prove(ctx context.Context, action Action, provider string, in Input) (Proof, error) {
	p, err := s.provider(provider)
	if err != nil {
		return Proof{}, err
	}
	var prove func(context.Context, Attempt) (Assertion, error)
	switch action {
	case SignIn:
		if a, ok := p.(Authenticator); ok {
			prove = a.Authenticate
		}
	case SignUp:
		if r, ok := p.(Registrar); ok {
			prove = r.Register
		}
	case Change:
		if u, ok := p.(Updater); ok {
			prove = u.Update
		}
	}
	if prove == nil {
		return Proof{}, notSupported(action, provider)
	}
	if action == Change {
		return s.prove(ctx, action, provider, Attempt{Input: in}, nil, prove)
	}
	if action == SignUp {
		if err := s.takeByPlace(ctx, limitRegister); err != nil {
			return Proof{}, err
		}
	}
	t := s.tally(ctx, provider)
	t.signsUp(action == SignUp)
	if !s.HasSecret(provider) { // it may not say whom it is about before it is too late
		if err := t.enter(ctx, "", snapshot{}); err != nil {
			return Proof{}, t.settle(ctx, err)
		}
	}
	return s.prove(ctx, action, provider, Attempt{Input: in}, t, guessed(provider, prove))
}

// guessed is prove for what may be guessed at: whoever lets somebody in, or refuses them, has asked Attempt.Secret, by which guesses
// are limited. A provider that has not is not believed, right or wrong, and so tells who guesses nothing.
func guessed(provider string, prove func(context.Context, Attempt) (Assertion, error)) func(context.Context, Attempt) (Assertion, error) {
	return func(ctx context.Context, a Attempt) (Assertion, error) {
		var asked atomic.Bool
		secret := a.Secret
		a.Secret = func(ctx context.Context, entityID string) ([]byte, error) {
			asked.Store(true)
			return secret(ctx, entityID)
		}
		found, err := prove(ctx, a)
		unread := fault.KindOf(err) == fault.Invalid // and so not tried
		if !asked.Load() && (err == nil || callersFault(err) && !unread) {
			return Assertion{}, fmt.Errorf("auth: provider %s has not asked Attempt.Secret, by which guesses at an account are limited, and so is not believed", provider)
		}
		return found, err
	}
}

func notSupported(action Action, provider string) error {
	return ErrUnsupported.Msg("%s not implemented for provider %s", unsupported[action], provider)
}

var unsupported = map[Action]string{SignIn: "Authentication in one step", SignUp: "Registration", Change: "Updating the secret"}

func (s *Service) provider(name string) (Provider, error) {
	if p, ok := s.providers[name]; ok {
		return p, nil
	}
	return nil, ErrUnknownProvider
}

// prove is where every Proof comes from. What comes of it goes to the tally.
func (s *Service) prove(ctx context.Context, action Action, provider string, a Attempt, t *tally,
	ask func(context.Context, Attempt) (Assertion, error)) (Proof, error) {
	defer t.close()
	ctx, account := withAccount(ctx)
	seen := map[string]snapshot{}
	a.Secret = func(ctx context.Context, entityID string) ([]byte, error) {
		if entityID == "" { // of what cannot be anybody's, there is nothing to look up
			account.is("nobody's")
			return nil, t.enter(ctx, "", snapshot{})
		}
		found, err := s.store.snapshot(ctx, provider, entityID)
		if err != nil {
			return nil, err
		}
		seen[entityID] = found
		account.is(subjectOf(provider, entityID))
		if err := t.enter(ctx, entityID, found); err != nil {
			return nil, err
		}
		return bytes.Clone(found.secret), nil
	}
	a.Names = func(ctx context.Context, entityID string) (all []string, err error) {
		found, ok := seen[entityID]
		if !ok {
			found, err = s.store.snapshot(ctx, provider, entityID)
		}
		if err != nil || found.identity == "" {
			return nil, err
		}
		for _, of := range s.names {
			names, err := of(ctx, found.identity)
			if err != nil {
				return nil, err
			}
			all = append(all, names...)
		}
		return all, nil
	}
	assertion, err := ask(ctx, a)
	s.noteUnavailable(ctx, provider, err)
	if err = t.settle(ctx, err); err != nil {
		return Proof{}, err
	}
	basis, ok := seen[assertion.EntityID]
	if !ok {
		if basis, err = s.store.snapshot(ctx, provider, assertion.EntityID); err != nil {
			return Proof{}, err
		}
	}
	p, err := s.asserted(action, provider, assertion, basis)
	p.failures = t.before()
	return p, err
}

// noteUnavailable logs why a provider cannot be used, if it says so: callers are not told, and it may have no log.
func (s *Service) noteUnavailable(ctx context.Context, provider string, err error) {
	if !errors.Is(err, ErrProviderUnavailable) || ctx.Err() != nil { // it is the caller who has gone
		return
	}
	if f, _ := fault.Of(err); err.Error() != f.Error() {
		s.log.Warn("somebody could not sign in, because a provider cannot be used", "provider", provider,
			"error", strings.TrimPrefix(err.Error(), f.Error()+": "))
	}
}

// asserted is the proof of what a provider asserts.
func (s *Service) asserted(action Action, provider string, assertion Assertion, basis snapshot) (Proof, error) {
	if assertion.EntityID == "" || !database.Storable(assertion.EntityID, maxText) {
		return Proof{}, fmt.Errorf("auth: provider %s asserts an entity id that cannot be kept: empty, too long or not text", provider)
	}
	s.tidy(provider, &assertion.Profile)
	email, err := CanonicalEmail(assertion.Profile.Email)
	if err != nil {
		email = "" // a claim that is no address is no claim
	}
	return Proof{action: action, provider: provider, assertion: assertion, email: email, basis: basis}, nil
}

// tidy makes what a provider says of somebody fit to be kept, because it must not decide whether they can sign in.
func (s *Service) tidy(provider string, p *Profile) {
	p.Name, p.FirstName, p.LastName = clip(p.Name, 256), clip(p.FirstName, 256), clip(p.LastName, 256)
	if len(p.AvatarURL) > 1024 {
		p.AvatarURL = ""
	}
	p.AvatarURL = clip(p.AvatarURL, 1024)
	if data, err := json.Marshal(p.Metadata); err != nil || len(data) > maxMetadata {
		s.log.Warn("what a provider says of somebody is not kept: it is no JSON, or too much", "provider", provider, "bytes", len(data))
		p.Metadata = nil
	}
}

// maxMetadata is how much of what a provider says is kept, in bytes of JSON.
const maxMetadata = 16 << 10

// Admit records a proof and returns its identity, making it if it is new. It is quick, and joins the transaction of ctx.
//
// ErrInvalidCredentials: the identity was deleted, or its credentials were set anew or revoked, since the proof was made.
// ErrProofOutdated: something else changed; prove again.
//
// What it leaves to the caller is to call off changes to an address that is newly proved, by CancelEmailChanges: in the
// same transaction, and after whatever that locks users for.
func (s *Service) Admit(ctx context.Context, p Proof) (Identity, error) {
	if p.provider == "" || p.unseen {
		return Identity{}, ErrInvalidCredentials
	}
	var i Identity
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.store.lockProviderIdentity(ctx, p.provider, p.assertion.EntityID, s.lockFor(p))
		if err != nil {
			return err
		}
		created := false
		if row == nil {
			if row, created, err = s.create(ctx, p); err != nil {
				return err
			}
		}
		if !created {
			if err := s.accept(ctx, p, row); err != nil {
				return err
			}
		}
		if i, err = s.RetrieveAuthIdentity(ctx, row.AuthIdentityID); err != nil {
			return err
		}
		if !created && p.action != Change {
			i.ver = row.Ver // that the proof is good for: one that is committed meanwhile ends what is opened by it, too
		}
		verified := row.Email != "" && !row.EmailVerifiedAt.IsZero()
		i.Proved = Proved{
			Provider: p.provider, EntityID: p.assertion.EntityID, Email: row.Email, EmailVerified: verified,
			NewlyVerified: verified && slices.Contains(row.claimed, "email_verified_at"), Profile: p.assertion.Profile, Created: created,
			failures: p.failures,
		}
		return nil
	})
	return i, err
}

// lockFor is how Admit locks the identity. Where the number of sessions is bounded, those who sign in take turns, and do so
// from here on: to lock more than KEY SHARE later, with rows of the identity changed already, would be out of order.
func (s *Service) lockFor(p Proof) string {
	if p.action == Change || s.options.MaxSessions > 0 {
		return "NO KEY UPDATE"
	}
	return "KEY SHARE"
}

// create makes the identity of a proof that nothing was stored for. If somebody else makes it at the same time, it
// returns theirs, and created is false.
func (s *Service) create(ctx context.Context, p Proof) (row *providerRow, created bool, err error) {
	if p.basis.identity != "" || p.action == Change {
		return nil, false, ErrInvalidCredentials // there was one, and it is gone
	}
	now := database.Now()
	row = &providerRow{
		ID: id.New(""), AuthIdentityID: IdentityID(id.New("authid")), Provider: p.provider, EntityID: p.assertion.EntityID,
		Secret: p.assertion.Secret, CreatedAt: now, UpdatedAt: now,
	}
	row.claim(p)
	if created, err = s.store.insertIdentity(ctx, row); err != nil {
		return nil, false, err
	}
	if created {
		return row, true, s.events.Emit(ctx, IdentityCreated{row.AuthIdentityID}, wayCreated(row))
	}
	row, err = s.store.lockProviderIdentity(ctx, p.provider, p.assertion.EntityID, s.lockFor(p))
	if err == nil && row == nil {
		err = ErrProofOutdated // made and deleted again meanwhile
	}
	return row, false, err
}

// accept holds a proof against the identity as it is stored now.
func (s *Service) accept(ctx context.Context, p Proof, row *providerRow) error {
	switch {
	case p.basis.identity == "" && (p.action == SignUp || p.assertion.Secret != nil):
		return ErrProofOutdated // somebody else was first: what they keep is what counts
	case p.action == SignUp && p.assertion.Secret != nil:
		return ErrIdentityExists // a registration sets the first secret of a new identity, not one of somebody's
	case p.basis.identity != "" && p.basis.identity != row.AuthIdentityID:
		return ErrProofOutdated // this way to sign in was joined to another identity
	case p.basis.identity != "" && p.basis.ver != row.Ver:
		return ErrInvalidCredentials
	}
	if p.assertion.Secret != nil {
		replaced, err := s.store.replaceSecret(ctx, row.ID, p.basis.secret, p.assertion.Secret)
		if err != nil {
			return err
		}
		if !replaced {
			return ErrProofOutdated
		}
	}
	claimed := row.EmailVerifiedAt.IsZero()
	if row.claim(p) {
		if err := s.store.updateClaims(ctx, row); err != nil {
			return err
		}
	}
	if p.action != Change {
		if slices.Contains(row.claimed, "email") { // a token that went to the address of before proves nothing of this one
			return s.store.voidOneTimeTokens(ctx, row.ID)
		}
		return nil
	}
	if err := s.spend(ctx, p, row); err != nil {
		return err
	}
	if claimed && !row.EmailVerifiedAt.IsZero() { // the mailbox's owner has shown up: what others added goes
		deleted, err := s.store.deleteUnproved(ctx, row.AuthIdentityID, row.Email)
		if err != nil {
			return err
		}
		for _, id := range deleted {
			if err := s.events.Emit(ctx, ProviderIdentityDeleted{id, row.AuthIdentityID}); err != nil {
				return err
			}
		}
	}
	told, err := s.Notice(ctx, row.AuthIdentityID, row.providerIdentity())
	if err != nil {
		return err
	}
	if err := s.events.Emit(ctx, CredentialsChanged{ID: row.AuthIdentityID, Provider: p.provider, Kept: p.keeps.ID, Notice: told}); err != nil {
		return err
	}
	if _, err := s.revoke(ctx, row.AuthIdentityID, p.keeps, EndedByChange); err != nil {
		return err
	}
	return s.forgetFailures(ctx, p.provider, p.assertion.EntityID, row.AuthIdentityID)
}

// claim takes over what the provider says of the person and reports whether that was news. An address that was proved
// stays proved while the provider names the same one.
func (r *providerRow) claim(p Proof) (news bool) {
	proved := r.EmailVerifiedAt
	if p.email != "" && p.email != r.Email {
		r.Email, r.EmailVerifiedAt = p.email, time.Time{}
		r.claimed = append(r.claimed, "email")
	}
	if r.Email != "" && r.Email == p.email && p.assertion.Profile.EmailVerified && r.EmailVerifiedAt.IsZero() {
		r.EmailVerifiedAt = database.Now()
	}
	if !r.EmailVerifiedAt.Equal(proved) {
		r.claimed = append(r.claimed, "email_verified_at") // once: a statement cannot set a column twice
	}
	if m := p.assertion.Profile.Metadata; m != nil && !sameJSON(m, r.UserMetadata) {
		r.UserMetadata = m
		r.claimed = append(r.claimed, "user_metadata")
	}
	return len(r.claimed) > 0
}
