package audit

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

const (
	maxRefusals = 10                  // that Explained returns
	refusalAge  = 30 * 24 * time.Hour // how old they may be
)

// Explained records that somebody had it explained why the person with an address cannot get in, which shows what is kept of
// them, and returns the last refusals that are about the person or the address, the newest first: at most ten, of the last 30
// days. Who looked is in the trail, or they see nothing: if it cannot be recorded, it is an error. Of a nil *Trail there are none.
func (t *Trail) Explained(ctx context.Context, e link.Explanation) ([]Event, error) {
	if t == nil {
		return nil, nil
	}
	kind, address := t.address(e.Email)
	looked := Entry{Action: "explain", TargetType: kind, TargetID: address, Details: map[string]any{"address": address, "status": e.Status}}
	about := t.addresses(e.Email)
	if len(e.Users) > 0 {
		looked.TargetType, looked.TargetID = "user", string(e.Users[0].ID)
	}
	var identities []string
	for _, u := range e.Users {
		about = append(about, string(u.ID))
	}
	for _, i := range e.Identities {
		identities = append(identities, string(i.ID))
	}
	refusals, err := t.store.refusals(ctx, append(about, identities...), identities, database.Now().Add(-refusalAge), maxRefusals)
	if err != nil {
		return nil, err
	}
	return refusals, t.Record(ctx, looked)
}

// addresses are the targets by which a refusal for the address may be kept: under the secret of now, or one of before.
func (t *Trail) addresses(canonical string) (all []string) {
	for _, key := range t.keys.Keys(purpose) {
		all = append(all, hashOf(key.Bytes, canonical))
	}
	return all
}
