package audit

import (
	"context"
	"errors"
	"sync"
	"time"

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
	if address != "" {
		e.Details["address"] = address
	}
	if fault.KindOf(why) == fault.TooMany && !t.seldom.first([3]string{r.Action, by.IP, address}, time.Now()) {
		return
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
// that is too busy.
func reasonOf(err error) (reason string, refused bool) {
	f, ok := fault.Of(err)
	if !ok {
		return "", false
	}
	switch f.Kind {
	case fault.Unauthorized, fault.Forbidden, fault.TooMany:
		return f.Reason, true
	}
	for _, token := range tokens {
		if errors.Is(err, token) {
			return f.Reason, true
		}
	}
	return "", false
}

// seldom lets one of a kind through in a minute: who is throttled can ask as often as they like, and each row costs more
// than refusing. The zero value is ready.
type seldom struct {
	mu   sync.Mutex
	seen map[[3]string]time.Time
}

// seldomSize bounds the memory.
const seldomSize = 10_000

func (s *seldom) first(key [3]string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.seen[key]; ok && now.Sub(at) < time.Minute {
		return false
	}
	if s.seen == nil || len(s.seen) >= seldomSize {
		s.seen = map[[3]string]time.Time{}
	}
	s.seen[key] = now
	return true
}
