package audit

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Refusal is what somebody tried.
type Refusal struct {
	Action   string // the topic of the event that it would have been; "access" for a permission
	Provider string // by which they tried to sign in; empty: they did not
	Address  string // for which, as it was typed; it is not kept
	// Accounts finds whose address it is, and is asked alike for every one. Nil: nobody looks.
	Accounts *auth.Service
	TargetID string         // what they tried it on, as far as it is known to be an id
	Details  map[string]any // beside what is known of the rest
}

// Refused records that somebody was refused, if that is what the error says. Call it when the transaction that refused has
// rolled back. It returns nothing, because whatever becomes of it the refusal stands; that it could not be recorded is
// logged.
func (t *Trail) Refused(ctx context.Context, r Refusal, why error) {
	reason, refused := reasonOf(why)
	if t == nil || !refused {
		return
	}
	e := Entry{Action: r.Action, Outcome: Refused, Reason: reason, TargetType: typeOf(r.TargetID), TargetID: r.TargetID, Details: map[string]any{}}
	for name, value := range r.Details {
		e.Details[name] = value
	}
	if r.Provider != "" {
		e.Details["provider"] = r.Provider
	}
	by := ActorOf(ctx)
	kind, address := t.address(r.Address)
	if !t.worth(r, by, address, why) {
		return
	}
	if address != "" {
		e.Details["address"] = address
	}
	// Neither what has become of the request nor a transaction of ctx may take the row along.
	own, cancel := context.WithTimeout(WithActor(context.Background(), by), refusalTime)
	defer cancel()
	if e.TargetID == "" && address != "" {
		e.TargetType, e.TargetID = kind, address
		if owner := t.owner(own, r); owner != "" {
			e.TargetType, e.TargetID = typeOf(string(owner)), string(owner)
		}
	}
	if len(e.Details) == 0 {
		e.Details = nil
	}
	if err := t.Record(own, e); err != nil {
		t.log.Error("a refusal is not in the audit trail", "action", r.Action, "reason", reason, "request_id", by.RequestID, "error", err)
	}
}

// refusalTime is how long a caller who is refused may wait for the row.
const refusalTime = 5 * time.Second

// owner is whose address it is; empty: nobody's.
func (t *Trail) owner(ctx context.Context, r Refusal) auth.IdentityID {
	canonical, err := auth.CanonicalEmail(r.Address)
	if err != nil || r.Accounts == nil {
		return ""
	}
	found, err := r.Accounts.ListProviderIdentities(ctx, auth.ProviderIdentityFilter{Provider: r.Provider, EntityID: canonical}, auth.Page{Limit: 1})
	if err != nil {
		t.log.Error("look for whom a refusal is about", "action", r.Action, "error", err)
	}
	if len(found) == 0 {
		return ""
	}
	return found[0].IdentityID
}

// tokens are what is said of a token that is no good, beside the faults that are refusals by their kind.
var tokens = []error{user.ErrInviteToken, user.ErrInviteExpired, user.ErrInviteUsed, user.ErrInviteRenewed, user.ErrInviteRevoked, user.ErrSetupDone,
	auth.ErrEmailChange, auth.ErrVerification}

// reasonOf is the reason of a refusal; refused is false for what is none: input that is wrong, a failure of ours, a server
// that is too busy. What a hook of the application says no to is one, whatever the kind, and so is an id that its
// policy chose and somebody has: nothing else would tell why.
func reasonOf(err error) (reason string, refused bool) {
	f, ok := fault.Of(err)
	if !ok || errors.Is(err, auth.ErrUnsupported) { // what a provider does not offer, it offers nobody
		return "", false
	}
	switch f.Kind {
	case fault.Unauthorized, fault.Forbidden, fault.TooMany:
		return f.Reason, true
	}
	return f.Reason, isToken(err) || errors.As(err, new(*link.HookError)) || errors.Is(err, user.ErrIDTaken)
}

func isToken(err error) bool {
	return slices.ContainsFunc(tokens, func(token error) bool { return errors.Is(err, token) })
}

// worth is false for a refusal that has rows enough already. What somebody can have as often as they like, at no cost, is
// kept seldom: a row costs more than refusing, and too many of one kind hide the others.
func (t *Trail) worth(r Refusal, by Actor, address string, why error) bool {
	network := auth.Client{IP: by.IP}.Network()
	route, _ := r.Details["route"].(string)
	switch kind := fault.KindOf(why); {
	case kind == fault.TooMany: // nobody gets more by naming another address each time
		return t.strangers.few(most(aNetwork, "throttled", network), most(once, "throttled", r.Action, network, cmp.Or(r.TargetID, address)))
	case kind == fault.Forbidden && by.IdentityID != "":
		return t.members.few(most(once, r.Action, route, string(by.IdentityID)))
	case kind == fault.Forbidden: // the right password of who may not sign in
		return t.strangers.few(most(once, "forbidden", r.Action, network, address))
	case by.IdentityID == "" && (isToken(why) || errors.Is(why, auth.ErrResetToken)):
		return t.strangers.few(most(aNetwork, "token", network))
	case by.IdentityID == "":
		return t.strangers.few(most(guesses, "unauthorized", network))
	default:
		return t.members.few(most(aNetwork, r.Action, string(by.IdentityID)))
	}
}

// How many rows of one kind there are in a minute.
const (
	once     = 1
	aNetwork = 10  // from one network, or of somebody signed in
	guesses  = 100 // from one network, of what throttling may let through: wrong passwords
)

// seldom lets few of a kind through in a minute, which begins with the first. The zero value is ready.
type seldom struct {
	mu    sync.Mutex
	began time.Time
	seen  map[[4]string]int
}

// seldomSize bounds the memory, and the rows of those who have many networks: of more kinds in a minute there are none.
const seldomSize = 10_000

// limit is how many there may be of a kind.
type limit struct {
	most int
	kind [4]string
}

func most(n int, kind ...string) limit {
	l := limit{most: n}
	copy(l.kind[:], kind)
	return l
}

// few is true for what all limits let through, and counts nothing else: what is refused by one uses up none of the others.
func (s *seldom) few(limits ...limit) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.seen == nil || now.Sub(s.began) >= time.Minute {
		s.began, s.seen = now, map[[4]string]int{}
	}
	for _, l := range limits {
		if n, known := s.seen[l.kind]; n >= l.most || !known && len(s.seen) >= seldomSize {
			return false
		}
	}
	for _, l := range limits {
		s.seen[l.kind]++
	}
	return true
}
