package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Entry is what there is to say of one act, beside who did it and from where.
type Entry struct {
	Action     string // the topic of the event, or a name like one
	Outcome    string // Success if empty
	Reason     string // of a refusal: the fault's
	TargetType string // such as user, invite, auth_identity, session, address
	TargetID   string
	Details    map[string]any // at most 1 KiB of JSON, and never a secret or what somebody typed

	actor func(Actor) Actor // who did it, if the entry itself proves who
}

// entryOf is what the trail keeps of an event. Of one that it does not know, such as an application's own, that is what
// happened and to what: what else is in an event may be anything.
func (t *Trail) entryOf(e event.Event) Entry {
	n := Entry{Action: e.Topic(), TargetType: typeOf(e.Aggregate()), TargetID: e.Aggregate()}
	switch e := e.(type) {
	case link.SignedIn:
		n.TargetType, n.TargetID = "session", string(e.SessionID)
		n.Details = map[string]any{"provider": e.Provider, "new_actor": e.NewActor}
		if e.Waiting != "" {
			n.Details["waiting"] = e.Waiting
		}
		n.actor = func(by Actor) Actor {
			by.Type, by.ID, by.IdentityID, by.SessionID = e.ActorType, e.ActorID, e.Identity, e.SessionID
			return by
		}
	case link.SignedUp:
		n.TargetType, n.TargetID = "session", string(e.SessionID)
		n.Details = map[string]any{"provider": e.Provider, "new_identity": e.NewIdentity}
		n.actor = func(by Actor) Actor {
			by.Type, by.ID, by.IdentityID, by.SessionID = e.ActorType, "", e.Identity, e.SessionID
			return by
		}
	case link.Linked:
		n.TargetType, n.Details = e.ActorType, map[string]any{"auth_identity_id": e.Identity, "actor_type": e.ActorType}
	case link.Joined:
		n.TargetType, n.Details = e.ActorType, map[string]any{"auth_identity_id": e.Identity}
	case link.Reclaimed:
		n.TargetType, n.Details = e.ActorType, map[string]any{"auth_identity_id": e.Identity}
	case link.ProviderLinked:
		n.Details = map[string]any{"provider": e.Provider, "provider_identity_id": e.Way}
	case link.ProviderUnlinked:
		n.Details = map[string]any{"provider": e.Provider, "provider_identity_id": e.Way}
	case auth.SessionEnded:
		n.TargetType, n.TargetID = "session", string(e.ID)
		n.Details = map[string]any{"auth_identity_id": e.IdentityID}
	case auth.SessionsEnded:
		n.Details = map[string]any{"sessions": e.Count, "reason": e.Reason}
		if e.ActorType != "" {
			n.Details["actor_type"] = e.ActorType
		}
	case auth.CredentialsChanged:
		n.Details = map[string]any{"provider": e.Provider}
	case auth.Throttled: // of the address limit, the actor's IP says whose it is
		n.TargetType, n.TargetID = typeOf(string(e.IdentityID)), string(e.IdentityID)
		n.Details = map[string]any{"limit": e.Limit, "failures": e.Failures, "until": e.Until.UTC().Format(time.RFC3339)}
	case auth.SuspiciousSignIn:
		n.Details = map[string]any{"session": e.SessionID, "failures": e.Failures, "new_device": e.NewDevice}
	case auth.PasswordResetRequested: // for whatever was typed
		n.TargetType, n.TargetID = t.address(e.EntityID)
		n.Details = map[string]any{"provider": e.Provider, "request": e.ID}
	case auth.SignInMailRequested: // whoever's address it is
		n.TargetType, n.TargetID = t.address(e.EntityID)
		n.Details = map[string]any{"provider": e.Provider, "request": e.ID, "sends": e.CodeProvider}
	case auth.EmailChangeRequested:
		n.TargetType, n.TargetID = typeOf(string(e.IdentityID)), string(e.IdentityID)
		n.Details = map[string]any{"request": e.ID}
	case auth.ProviderIdentityCreated:
		n.Details = map[string]any{"provider_identity_id": e.ID}
	case auth.ProviderIdentityUpdated:
		n.Details = map[string]any{"provider_identity_id": e.ID}
	case auth.ProviderIdentityDeleted:
		n.Details = map[string]any{"provider_identity_id": e.ID}
	case user.Updated:
		n.Details = map[string]any{}
		for name, roles := range map[string]string{"roles_given": e.Given, "roles_taken": e.Taken} {
			if roles != "" {
				n.Details[name] = database.Clip(roles, maxDetails/3)
			}
		}
		if len(n.Details) == 0 {
			n.Details = nil
		}
	case user.EmailChangeRequested:
		if _, hash := t.address(e.To); hash != "" {
			n.Details = map[string]any{"to": hash}
		}
	case user.EmailChanged: // both are proved, and the user row forgets the one
		n.Details = map[string]any{"from": e.From, "to": e.To}
	}
	return n
}

// typeOf is what an id says of what it names.
func typeOf(id string) string {
	prefix, _, found := strings.Cut(id, "_")
	switch {
	case !found:
		return ""
	case prefix == "authid":
		return "auth_identity"
	case prefix == "authsess":
		return "session"
	}
	return prefix
}

// address is a typed address as a target: the hash of its canonical form, so that the trail can tell that two are the same
// and not what they are. What is no address, a password in the wrong field for one, is nothing.
func (t *Trail) address(typed string) (kind, id string) {
	canonical, err := auth.CanonicalEmail(typed)
	if err != nil || canonical == "" {
		return "", ""
	}
	return "address", hashOf(t.keys.Keys(purpose)[0].Bytes, canonical)
}

func hashOf(key []byte, canonical string) string {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(canonical))
	return "address_" + hex.EncodeToString(m.Sum(nil)[:16])
}
