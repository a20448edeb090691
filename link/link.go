package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Options are the package's settings, by actor type. A type that has none, as in the zero value, is served by AutoProvision
// with every provider.
type Options struct {
	Actors map[string]ActorOptions
	// EnumerationSafe has SignUp do and answer the same for an address that is known and for one that is not: the mailbox
	// decides what comes of it. A newcomer then proves their address before anything is decided about them.
	EnumerationSafe bool
	// UnlinkedTTL is after what time PurgeUnlinked deletes who was let in and is nobody; zero: never.
	UnlinkedTTL time.Duration
	// InviteSameEmail has an invite accepted by that identity alone which signs in by the invited address. Without it, as in
	// Medusa, whoever has the link may accept it with any identity that is nobody's; see docs/security/pre-hijacking.md.
	InviteSameEmail bool
}

// ActorOptions say how one type of actor signs in.
type ActorOptions struct {
	Policy    Policy   // AutoProvision if nil
	Providers []string // which it may use; nil: every one
	// CreateProviders are those of them by whose word for an address CreateFromSession makes users; none keeps secrets.
	CreateProviders []string
	// RequireVerifiedEmail lets nobody be an actor whose address is not proved: a sign-in is let in as nobody until then, and
	// a link is mailed. See HoldsBack.
	RequireVerifiedEmail bool
}

// Login is what a caller has after proving who they are.
type Login struct {
	Identity auth.Identity
	Session  auth.Session
	Token    string   // an access token of the session
	ActorID  string   // empty: not linked yet
	Waiting  *Waiting // why not; nil if linked, or if nobody asked to be let in (SignUp)

	Unproved     bool               // they are nobody until an address is proved
	Verification *auth.Verification // of that address, under way; nil if there is no address, or nobody is held back

	actor *Actor // as the sign-in found it; nil: not looked at
	made  bool   // the actor came to be by this sign-in
}

// Service is the bridge. It is safe for concurrent use.
type Service struct {
	store  store
	db     *database.DB
	users  *user.Service
	auth   *auth.Service
	events event.Emitter
	hooks  []Hook
	log    *slog.Logger
	kinds  map[string]kind // by actor type

	enumerationSafe bool
	unlinkedTTL     time.Duration
	inviteSameEmail bool
}

// New returns the link layer's service. It registers with the user module, so that deleting or deactivating a user, by
// whatever way, ends their sign-ins in the same transaction. It fails for an actor type it cannot serve and for a
// provider that is not there.
func New(p Params) (*Service, error) {
	if p.DB == nil || p.Users == nil || p.Auth == nil {
		return nil, errors.New("link: New needs a database, the user service and the auth service")
	}
	s := &Service{
		store: store{p.DB}, db: p.DB, users: p.Users, auth: p.Auth,
		events:          cmp.Or(p.Events, event.Discard),
		log:             cmp.Or(p.Log, slog.Default()).With("module", "link"),
		kinds:           map[string]kind{},
		enumerationSafe: p.Options.EnumerationSafe, unlinkedTTL: p.Options.UnlinkedTTL, inviteSameEmail: p.Options.InviteSameEmail,
	}
	var err error
	if s.hooks, err = checkHooks(p.Hooks); err != nil {
		return nil, err
	}
	for _, a := range append([]Actors{users{p.Users}}, p.Actors...) {
		if err := s.serve(a); err != nil {
			return nil, err
		}
	}
	known := s.auth.ListAuthProviders()
	for name, o := range p.Options.Actors {
		k, served := s.kinds[name]
		if !served {
			return nil, fmt.Errorf("link: there is no actor type %q: there are %s; an application adds its own by AsActor", name, strings.Join(s.ActorTypes(), ", "))
		}
		for _, provider := range o.Providers {
			if !slices.ContainsFunc(known, func(i auth.ProviderInfo) bool { return i.ID == provider }) {
				return nil, fmt.Errorf("link: actor type %q may use provider %q, but there is no such provider", name, provider)
			}
		}
		if err := s.checkCreators(name, o); err != nil {
			return nil, err
		}
		k.ActorOptions = o
		s.kinds[name] = k
	}
	if err := s.decideBy(p.Policy); err != nil {
		return nil, err
	}
	for name, o := range s.kinds {
		if len(known) > 0 && !slices.ContainsFunc(known, func(i auth.ProviderInfo) bool { return o.allows(i.ID) }) { // of none at all, auth.New has told
			s.log.Warn("an actor type may use no provider, so nobody can sign in as one", "actor_type", name)
		}
	}
	s.auth.OnDelete(s.store.deleteAll)
	s.auth.OnNames(s.names)
	s.auth.OnNotice(s.tellAt)
	s.users.OnDelete(s.eachUser(s.detach(ActorUser)))
	s.users.OnDeactivate(s.eachUser(s.auth.Revoke))
	s.users.OnAddress(func(ctx context.Context, addresses []string) error {
		return s.auth.CancelEmailChanges(ctx, addresses...)
	})
	return s, nil
}

// ActorTypes are the types of actor that can sign in, by name.
func (s *Service) ActorTypes() []string { return slices.Sorted(maps.Keys(s.kinds)) }

// Providers describes the providers that an actor type may use, or says ErrActorType.
func (s *Service) Providers(actorType string) ([]auth.ProviderInfo, error) {
	o, ok := s.kinds[actorType]
	if !ok {
		return nil, ErrActorType.Msg("There is no actor type %q.", actorType)
	}
	return slices.DeleteFunc(s.auth.ListAuthProviders(), func(i auth.ProviderInfo) bool { return !o.allows(i.ID) }), nil
}

func (o ActorOptions) allows(provider string) bool {
	return o.Providers == nil || slices.Contains(o.Providers, provider)
}

// allow refuses actor types that are not there and providers that they may not use.
func (s *Service) allow(actorType, provider string) (ActorOptions, error) {
	allowed, err := s.Providers(actorType)
	if err != nil {
		return ActorOptions{}, err
	}
	if !slices.ContainsFunc(allowed, func(i auth.ProviderInfo) bool { return i.ID == provider }) {
		return ActorOptions{}, ErrProvider.Msg("The actor type %s is not allowed to use the auth provider %s", actorType, provider)
	}
	return s.kinds[actorType].ActorOptions, nil
}

// SignIn lets a caller in. The first time, the actor type's policy decides whom they become: of any number of first
// sign-ins at once exactly one makes the user, and all of them succeed. ErrDeactivated is for the right credentials of a
// deactivated user.
func (s *Service) SignIn(ctx context.Context, actorType, provider string, in auth.Input, c auth.Client) (Login, error) {
	o, err := s.allow(actorType, provider)
	if err != nil {
		return Login{}, err
	}
	ctx = auth.WithClient(ctx, c)
	l, err := s.proveAndRecord(ctx, func() (auth.Proof, error) { return s.auth.Prove(ctx, auth.SignIn, provider, in) },
		func(ctx context.Context, p auth.Proof, known auth.IdentityID) (Login, error) {
			return s.enter(ctx, entry{actorType: actorType, policy: o.Policy, proof: p, known: known, client: c})
		})
	if err != nil {
		return l, err
	}
	return s.withToken(ctx, l)
}

// SignUp gives a caller an identity and lets them in without an actor. Signing up again with the same secret lets them in
// again while the identity is linked to nobody; otherwise it is auth.ErrIdentityExists. With Options.EnumerationSafe everybody
// gets an identity and is let in, and only the mailbox tells what that is worth.
func (s *Service) SignUp(ctx context.Context, actorType, provider string, in auth.Input, c auth.Client) (Login, error) {
	if _, err := s.allow(actorType, provider); err != nil {
		return Login{}, err
	}
	ctx = auth.WithClient(ctx, c)
	if s.enumerationSafe {
		if l, done, err := s.signUpUnseen(ctx, actorType, provider, in, c); err != nil || done {
			return l, err
		}
	}
	return s.signUp(ctx, actorType, provider, in, c, func(auth.Identity) error { return nil })
}

// signUp signs somebody up whom admit, which is asked once it is known who they are, does not refuse.
func (s *Service) signUp(ctx context.Context, actorType, provider string, in auth.Input, c auth.Client, admit func(auth.Identity) error) (Login, error) {
	o, err := s.allow(actorType, provider)
	if err != nil {
		return Login{}, err
	}
	l, err := s.proveAndRecord(ctx, func() (auth.Proof, error) { return s.auth.Prove(ctx, auth.SignUp, provider, in) },
		func(ctx context.Context, p auth.Proof, known auth.IdentityID) (l Login, err error) {
			if known != "" { // who links it at the same time would not see this session, and so not end it
				if free, err := s.holdOff(ctx, known, actorType); err != nil {
					return Login{}, err
				} else if !free {
					return Login{}, auth.ErrIdentityExists
				}
			}
			if l.Identity, err = s.auth.Admit(ctx, p); errors.Is(err, auth.ErrInvalidCredentials) {
				return Login{}, auth.ErrProofOutdated // who was registered is gone, or has another secret: look again
			} else if err != nil {
				return Login{}, err
			}
			if linked, err := s.store.linkedAs(ctx, l.Identity.ID, ""); err != nil {
				return Login{}, err
			} else if linked {
				return Login{}, auth.ErrIdentityExists
			}
			if err := admit(l.Identity); err != nil {
				return Login{}, err
			}
			if err := s.store.noteUnlinked(ctx, l.Identity.ID, actorType); err != nil {
				return Login{}, err
			}
			if l.Session, err = s.auth.OpenSession(ctx, l.Identity, actorType, c); err != nil {
				return Login{}, err
			}
			if p := l.Identity.Proved; o.RequireVerifiedEmail && p.Email != "" && !p.EmailVerified {
				_, err := s.auth.RequestVerification(ctx, l.Session, auth.VerificationRequest{Email: p.Email, UnlessPending: true, Quietly: true})
				if err != nil {
					return Login{}, err
				}
			}
			return l, s.events.Emit(ctx, SignedUp{l.Session.ID, l.Identity.ID, actorType, provider, l.Identity.Proved.Created})
		})
	if err == nil {
		l.Token, err = s.token(ctx, l.Session, l.Identity, "")
	}
	return l, err
}

// proveAndRecord proves, outside any transaction, and records what was proved in one. What changed between the two by no
// fault of the caller is tried again.
func (s *Service) proveAndRecord(ctx context.Context, prove func() (auth.Proof, error),
	record func(ctx context.Context, p auth.Proof, known auth.IdentityID) (Login, error)) (l Login, err error) {
	proof, err := prove()
	if err != nil {
		return Login{}, err
	}
	known := proof.Identity()
	for range attempts {
		err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
			l, err = record(ctx, proof, known)
			return err
		})
		switch {
		case errors.Is(err, errKnown):
			known = l.Identity.ID
			continue
		case errors.Is(err, auth.ErrProofOutdated):
			if proof, err = prove(); err != nil {
				return Login{}, err
			}
			known = proof.Identity()
			continue
		case err != nil:
			return Login{}, err
		}
		return l, nil
	}
	return Login{}, auth.ErrProofOutdated
}

// admit records the proof, which must be about the identity that is known already, if one is: another one has taken its
// place otherwise, and what was decided for the known one is not for it.
func (s *Service) admit(ctx context.Context, p auth.Proof, known auth.IdentityID) (auth.Identity, error) {
	i, err := s.auth.Admit(ctx, p)
	if err == nil && known != "" && i.ID != known {
		return auth.Identity{}, auth.ErrProofOutdated
	}
	return i, err
}

// startOver turns the refusal of a proof about an identity that is gone into one to prove anew: it was nobody's and has been
// purged meanwhile, and whoever is at it comes as if they had a moment later.
func (s *Service) startOver(ctx context.Context, known auth.IdentityID, refused error) error {
	if known == "" || !errors.Is(refused, auth.ErrInvalidCredentials) {
		return refused
	}
	if _, err := s.auth.RetrieveAuthIdentity(ctx, known); errors.Is(err, auth.ErrNotFound) {
		return auth.ErrProofOutdated
	}
	return refused
}

// attempts bounds how often a sign-in starts over because others were at the same rows.
const attempts = 5

// errKnown starts a sign-in over: the identity that it set out to make was made meanwhile, and is known now.
var errKnown = errors.New("link: the identity was made meanwhile")

// Refresh makes a new access token of the session, for whoever its identity is linked to by now.
// auth.ErrSession: the session has ended, or the actor is gone or deactivated.
func (s *Service) Refresh(ctx context.Context, session auth.Session) (string, error) {
	actor, err := s.Actor(ctx, session)
	if err != nil {
		return "", err
	}
	identity, err := s.auth.RetrieveAuthIdentity(ctx, session.IdentityID)
	if err != nil {
		return "", err
	}
	return s.token(ctx, session, identity, actor)
}

// Actor returns the actor that the session's identity is linked to; empty if it is linked to nobody, or to somebody who is
// held back (HoldsBack). Linking ends the other sessions of who was nobody, and a session that was checked on another node
// may be one of those, for as long as that is cached there: so where the link is new the session is read once more.
// auth.ErrSession: it has ended.
func (s *Service) Actor(ctx context.Context, session auth.Session) (string, error) {
	id, since, err := s.store.actorSince(ctx, session.IdentityID, session.ActorType)
	if err != nil || id == "" {
		return id, err
	}
	if time.Since(since) <= newLink {
		if err := s.auth.RecheckSession(ctx, session.ID); err != nil {
			return "", err
		}
	}
	if !s.kinds[session.ActorType].RequireVerifiedEmail {
		return id, nil
	}
	a, err := s.find(ctx, session.ActorType, id)
	if errors.Is(err, ErrNoActor) {
		return id, nil // the caller looks for them, too
	}
	if err != nil {
		return "", err
	}
	if held, err := s.HoldsBack(ctx, session.ActorType, a); err != nil || held {
		return "", err
	}
	return id, nil
}

// newLink is for how long a link counts as new: longer by far than sessions are cached and clocks differ.
const newLink = time.Minute

// AuthProviders are the providers by which the user can sign in, by name, each once; none for who is unknown or has no way.
func (s *Service) AuthProviders(ctx context.Context, id user.ID) ([]string, error) {
	ways, err := s.WaysOf(ctx, id)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(ways))
	for i, w := range ways {
		names[i] = w.Provider
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// WaysOf returns the ways to sign in that the user has; none for who is unknown.
func (s *Service) WaysOf(ctx context.Context, id user.ID) ([]auth.ProviderIdentity, error) {
	if strings.ContainsRune(string(id), 0) { // which cannot even be written into a statement
		return nil, nil
	}
	identity, err := s.store.identity(ctx, ActorUser, string(id))
	if err != nil || identity == "" {
		return nil, err
	}
	i, err := s.auth.RetrieveAuthIdentity(ctx, identity)
	if errors.Is(err, auth.ErrNotFound) { // deleted meanwhile
		err = nil
	}
	return i.Providers, err
}

// token makes an access token that speaks for the actor, if there is one.
func (s *Service) token(ctx context.Context, session auth.Session, identity auth.Identity, id string) (string, error) {
	if id == "" {
		return s.auth.Token(session, identity, auth.Actor{})
	}
	a, err := s.active(ctx, session.ActorType, id)
	if err != nil {
		return "", err
	}
	return s.tokenFor(session, identity, a)
}

func (s *Service) tokenFor(session auth.Session, identity auth.Identity, a Actor) (string, error) {
	said := map[string]any{session.ActorType + "_id": a.ID}
	maps.Copy(said, a.Metadata)
	return s.auth.Token(session, identity, auth.Actor{ID: a.ID, Metadata: said})
}

// CreateUser makes a user with a first way to sign in: identity, user and link in one transaction. It is for those who
// may vouch for the address, such as the operator at the command line: the address counts as proved, and an identity on
// it that is nobody's is taken over, its secret replaced, its other ways to sign in removed and its sessions ended. ErrLinked and user.ErrEmailTaken: the
// address has a user.
func (s *Service) CreateUser(ctx context.Context, provider string, in auth.Input, d user.Draft) (u user.User, err error) {
	if _, err := s.allow(ActorUser, provider); err != nil {
		return user.User{}, err
	}
	ctx = auth.Unlimited(ctx) // the operator is not kept out by who guesses at the address
	prove := func() (auth.Proof, error) {
		p, err := s.auth.Prove(ctx, auth.SignUp, provider, in)
		if errors.Is(err, auth.ErrIdentityExists) {
			return s.auth.Prove(ctx, auth.Change, provider, in)
		}
		return p, err
	}
	d.EmailVerified = true
	claim := mint(ActorUser)
	_, err = s.proveAndRecord(ctx, prove, func(ctx context.Context, p auth.Proof, known auth.IdentityID) (l Login, err error) {
		won := known == ""
		if known != "" {
			if won, err = s.store.insert(ctx, known, ActorUser, claim); err != nil {
				return Login{}, err
			}
		}
		if !won {
			return Login{}, ErrLinked.Msg("There is an account with this address already.")
		}
		if l.Identity, err = s.admit(ctx, p, known); err != nil {
			return l, err
		}
		if known == "" {
			if !l.Identity.Proved.Created {
				return l, errKnown
			}
			if _, err := s.store.insert(ctx, l.Identity.ID, ActorUser, claim); err != nil {
				return Login{}, err
			}
		}
		as := d
		as.ID = cmp.Or(d.ID, user.ID(claim))
		made, err := s.users.CreateUsers(ctx, as)
		if err != nil {
			return Login{}, err
		}
		if u = made[0]; string(u.ID) != claim {
			if err := s.store.point(ctx, l.Identity.ID, ActorUser, string(u.ID)); err != nil {
				return Login{}, err
			}
		}
		if err := s.onlyWay(ctx, l.Identity); err != nil {
			return Login{}, err
		}
		if err := s.auth.Revoke(ctx, l.Identity.ID); err != nil {
			return Login{}, err
		}
		if err := s.auth.VerifyEmail(ctx, l.Identity.ID, u.Email); err != nil {
			return Login{}, err
		}
		became := Newcomer{Identity: l.Identity}.provisioned(ActorUser, string(u.ID))
		became.Created, became.Via = true, u.CreatedVia
		return l, s.provisioned(ctx, became)
	})
	return u, err
}

// names are what the actors are called whom an identity signs in, and their addresses, which may not be the identity's.
func (s *Service) names(ctx context.Context, identity auth.IdentityID) (names []string, err error) {
	for _, actorType := range s.ActorTypes() {
		id, err := s.store.actor(ctx, identity, actorType)
		if err != nil {
			return nil, err
		}
		if id == "" {
			continue
		}
		a, err := s.find(ctx, actorType, id)
		if errors.Is(err, ErrNoActor) {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, a.Email)
		if u, ok := a.Record.(user.User); ok {
			for _, name := range []*string{u.FirstName, u.LastName} {
				if name != nil {
					names = append(names, *name)
				}
			}
		}
	}
	return names, nil
}

// eachUser calls f for the identity of each of some users who has one, in the transaction that deletes or deactivates them.
func (s *Service) eachUser(f func(context.Context, auth.IdentityID) error) func(context.Context, []user.ID) error {
	return func(ctx context.Context, users []user.ID) error {
		ids := make([]string, len(users))
		for i, id := range users {
			ids[i] = string(id)
		}
		return s.ofActors(ctx, ActorUser, ids, f)
	}
}

// detach takes an identity from the actor it is linked to: for good, or, if it is another actor as well, as this one.
func (s *Service) detach(actorType string) func(context.Context, auth.IdentityID) error {
	return func(ctx context.Context, identity auth.IdentityID) error {
		if err := s.store.delete(ctx, identity, actorType); err != nil {
			return err
		}
		shared, err := s.store.linkedAs(ctx, identity, actorType)
		if err != nil {
			return err
		}
		if shared {
			return s.auth.Revoke(ctx, identity)
		}
		return s.auth.DeleteAuthIdentities(ctx, identity)
	}
}

// signedIn returns the actor if they may sign in. A link whose actor is gone is as good as wrong credentials.
func (s *Service) signedIn(ctx context.Context, actorType, id string) (Actor, error) {
	a, err := s.find(ctx, actorType, id)
	switch {
	case errors.Is(err, ErrNoActor):
		return Actor{}, auth.ErrInvalidCredentials.Msg("Invalid email or password")
	case err == nil && a.Inactive:
		return Actor{}, ErrDeactivated
	}
	return a, err
}
