package auth

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
)

// Provider proves who a caller is. It is stateless: what it must keep it hands back, and this package keeps it.
// Name is its key in URLs, configuration and rows: lower-case letters, digits and hyphens. A provider has at least one
// of the capabilities Authenticator and Challenger, and is safe for concurrent use.
//
// Errors that wrap ErrInvalidCredentials, ErrInput or ErrDeclined are the caller's; any other is the provider's failure.
type Provider interface{ Name() string }

// Authenticator proves in one step: a password, a token. If Attempt.EntityID is set, it lets nobody but that entity prove
// themselves, whatever the input says. It asks Attempt.Secret before it lets somebody in or refuses them, or it is not believed.
type Authenticator interface {
	Authenticate(context.Context, Attempt) (Assertion, error)
}

// Challenger proves in two steps, with a redirect or a challenge between them: OpenID Connect, a passkey, a mailed link.
// It works by Service.Begin and Finish, and over HTTP by /auth/{actor}/{provider} and its /callback. Who comes back with an
// "error" is not asked about: the flow has ended.
type Challenger interface {
	Begin(context.Context, Attempt) (Challenge, error)
	Finish(context.Context, Attempt) (Assertion, error)
}

// Retrier is a Challenger whose answer people type, and mistype: an answer that Finish refuses does not end the flow, but that
// many do. Without it, or with less than two tries, the first one ends it.
type Retrier interface{ Tries() int }

// Registrar has a sign-up of its own, other than a first sign-in.
type Registrar interface {
	Register(context.Context, Attempt) (Assertion, error)
}

// Updater changes the secret of an entity that has one. It changes that of Attempt.EntityID if that is set, whatever the
// input says; and if Attempt.ProveCurrent is set, only for input that proves the secret there is now. Otherwise whoever
// calls it has made sure that the caller may.
type Updater interface {
	Update(context.Context, Attempt) (Assertion, error)
}

// Canonicalizer knows the one spelling of an entity id under which the provider looks it up, or an error of kind Invalid
// for what can be none. It is asked when an app makes identities itself; what a provider asserts is taken as it is.
// Without it an entity id is kept as it is given.
type Canonicalizer interface {
	CanonicalEntityID(entityID string) (string, error)
}

// SecretChecker says whether an app may give an entity the secret when it makes identities itself, by an error of kind
// Invalid that does not repeat it. Without it any secret is kept as it is given.
type SecretChecker interface {
	CheckSecret(secret []byte) error
}

// Describer says how a provider is shown to people. Without it, its name is shown.
type Describer interface{ DisplayName() string }

// Iconer says where the picture of a provider is: an address. Without it, or if that is empty, there is none.
type Iconer interface{ Icon() string }

// Reporter says whether the provider can be used at the moment, without asking anybody for long: people wait for it. One
// that cannot answers with ErrProviderUnavailable, and asks anew by and by, whether or not anybody uses it.
type Reporter interface{ Available() bool }

// Runner has something to do for as long as an application serves, such as to look after who it depends on. Run returns
// when the context ends. Without it a provider works as well.
type Runner interface{ Run(context.Context) }

// Attempt is one caller's try, as handed to a provider. It may grow.
type Attempt struct {
	Input Input // what the caller sent

	// Secret returns what was kept for the entity by an earlier Assertion, and nil if there is no such entity or it has
	// no secret. A provider sees the secrets of its own entities only. The secret it was last given for an entity is the
	// one its assertion about that entity rests on.
	//
	// Asking also counts the attempt as one at that entity, before it is known whether it fails: ask before the work that a
	// guess costs, for entities that do not exist too, by their canonical spelling, and by "" for what can be none. An error
	// is to be returned as it is: ErrThrottled says that there have been too many. Who proves in one step, registers somebody, or
	// has them prove the secret of now, must have asked, whether or not it keeps secrets: otherwise neither a yes nor a no of it is believed, and it
	// has failed. Only an error of kind Invalid, such as ErrInput, is for an input at which it did not come to that.
	Secret func(ctx context.Context, entityID string) ([]byte, error)

	// Names returns the names of the person whose entity it is, as far as they are known, for what a password must not be
	// made of. It may be nil.
	Names func(ctx context.Context, entityID string) ([]string, error)

	EntityID     string // on Authenticate: who must prove themselves; on Update: whose secret is changed; empty: the input names them
	ProveCurrent bool   // on Update: the input must prove the secret of now as well, or the answer is ErrInvalidCredentials

	State       []byte // on Finish: the State of the Challenge that began this flow
	FlowID      string // on Begin: what the caller must bring back as "state"
	Unasked     bool   // on Begin: perhaps nobody has asked for it, as Binding says; a Challenge with a Mail is refused
	CallbackURL string // on Begin and Finish: where the caller comes back to, to be repeated exactly; empty: the front end has none
}

// Challenge is what a caller must do next.
type Challenge struct {
	RedirectURL string // where to send the caller
	State       []byte // kept until Finish, where it is in Attempt.State

	// Mail is sent if and only if the flow begins; nil: none. State must be the one that Mailings made along with it.
	Mail *Mailing
}

// Assertion is what a provider has established.
type Assertion struct {
	// EntityID is the provider's stable key for the person: never something that can change hands.
	EntityID string
	Profile  Profile
	// Secret replaces what is kept for the entity if it is not nil: at registration, after a rehash, for a counter.
	Secret []byte
}

// Profile is what the provider says of the person. Only Email and EmailVerified decide anything: without an Email the
// policies that package link ships make nobody a user.
type Profile struct {
	Email         string // a claim, unless EmailVerified; one that is no address counts as none
	EmailVerified bool   // the provider vouches that the mailbox is the person's
	Name          string
	FirstName     string
	LastName      string
	AvatarURL     string
	Metadata      map[string]any // further claims, kept as the provider identity's user metadata
}

// Input is what a caller sent: a JSON object.
type Input []byte

// String says how long the input is and nothing else: it holds a password.
func (in Input) String() string { return fmt.Sprintf("input of %d bytes", len(in)) }

// GoString is String.
func (in Input) GoString() string { return in.String() }

// LogValue is String, for slog.
func (in Input) LogValue() slog.Value { return slog.StringValue(in.String()) }

// Decode reads the input into a struct, by exact member names; members it has no field for are ignored. Its error wraps
// ErrInput and repeats nothing of the input.
func (in Input) Decode(into any) error {
	if len(in) == 0 {
		in = Input("{}")
	}
	if err := strictjson.Unmarshal(in, into); err != nil {
		return ErrInput
	}
	return nil
}

// CanonicalEmail returns the one spelling of an address by which people are known, or an error of kind Invalid that says
// what an address looks like.
func CanonicalEmail(address string) (string, error) { return email.Canonical(address) }

// How a caller uses a provider, as ListAuthProviders tells.
const (
	FlowCredentials = "credentials" // one step
	FlowRedirect    = "redirect"    // two steps
)

// ProviderInfo describes a provider.
type ProviderInfo struct {
	ID          string
	DisplayName string
	Icon        string // the address of a picture, or empty
	Flow        string // FlowCredentials or FlowRedirect
	Unavailable bool   // who tries is told ErrProviderUnavailable, for now
}

var (
	providerName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

	// Names that would shadow routes.
	reservedNames = []string{"session", "sessions", "token", "verification", "mfa", "providers", "provider-identities"}
)

// ReservedName reports whether a name cannot be an actor type, because it would shadow a route; providers, in addition,
// cannot be called user.
func ReservedName(name string) bool { return slices.Contains(reservedNames, name) }

func describe(p Provider) ProviderInfo {
	info := ProviderInfo{ID: p.Name(), DisplayName: p.Name(), Flow: FlowRedirect}
	if d, ok := p.(Describer); ok {
		info.DisplayName = d.DisplayName()
	}
	if i, ok := p.(Iconer); ok {
		info.Icon = i.Icon()
	}
	if r, ok := p.(Reporter); ok {
		info.Unavailable = !r.Available()
	}
	if _, ok := p.(Authenticator); ok {
		info.Flow = FlowCredentials
	}
	return info
}
