package link

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// onlyWay takes from an identity every way to sign in but the one that has just been proved: whoever had it before may have
// attached others.
func (s *Service) onlyWay(ctx context.Context, i auth.Identity) error {
	var others []string
	for _, way := range i.Providers {
		if way.Provider != i.Proved.Provider || way.EntityID != i.Proved.EntityID {
			others = append(others, way.ID)
		}
	}
	if len(others) == 0 {
		return nil
	}
	return s.auth.DeleteProviderIdentities(ctx, others...)
}
