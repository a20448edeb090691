package link

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// holdOff keeps an identity that is linked to nobody from being linked before the transaction ends, and reports whether it is
// linked to nobody. As at a first sign-in, the link row comes before everything else, so that whoever waits for it holds
// nothing; it need not stay there for that.
func (s *Service) holdOff(ctx context.Context, identity auth.IdentityID, actorType string) (free bool, err error) {
	if free, err = s.store.insert(ctx, identity, actorType, mint(actorType)); err == nil && free {
		err = s.store.delete(ctx, identity, actorType)
	}
	return free, err
}
