package webhook

import (
	"slices"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Topics are those that an endpoint can name: of all events of the modules, and of the application's own.
func (s *Service) Topics() []string { return slices.Clone(s.topics) }

// Topics are those of all events of the modules, in the order of the alphabet. docs/embedding.md says when they happen.
func Topics() []string {
	var topics []string
	for _, e := range []event.Event{
		user.Created{}, user.Updated{}, user.Deleted{}, user.Restored{}, user.Deactivated{}, user.Reactivated{},
		user.EmailChangeRequested{}, user.EmailChanged{},
		user.InviteCreated{}, user.InviteUpdated{}, user.InviteResent{}, user.InviteAccepted{}, user.InviteDeleted{}, user.InviteRestored{},

		auth.IdentityCreated{}, auth.IdentityUpdated{}, auth.IdentityDeleted{},
		auth.ProviderIdentityCreated{}, auth.ProviderIdentityUpdated{}, auth.ProviderIdentityDeleted{},
		auth.CredentialsChanged{}, auth.PasswordResetRequested{}, auth.EmailChangeRequested{}, auth.VerificationRequested{}, auth.EmailVerified{},
		auth.SignInMailRequested{},
		auth.SessionEnded{}, auth.SessionsEnded{}, auth.Throttled{}, auth.SuspiciousSignIn{},

		link.SignedIn{}, link.SignedUp{}, link.Linked{}, link.Joined{}, link.Reclaimed{}, link.Purged{}, link.ProviderLinked{}, link.ProviderUnlinked{}, link.OwnUserDeleted{},
	} {
		topics = append(topics, e.Topic())
	}
	slices.Sort(topics)
	return topics
}
