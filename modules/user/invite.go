package user

import (
	"cmp"
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// InviteID names an invite: invite_ and a ULID.
type InviteID string

// Invite asks somebody to become a user with certain roles. It is open until it is accepted, withdrawn or renewed;
// an open invite can be accepted until it expires.
type Invite struct {
	ID         InviteID
	Email      string // canonical; empty for the set-up link only
	Roles      []string
	Accepted   bool
	AcceptedAt time.Time // zero: not yet
	AcceptedBy ID        // who became a user by it
	IssuedAt   time.Time // when the token that is good now was made
	ExpiresAt  time.Time
	Metadata   map[string]any
	CreatedAt  time.Time
	UpdatedAt  time.Time
	DeletedAt  time.Time // zero: not withdrawn

	// Channel says how the token that ValidateInviteToken was given had left. It is empty on every other read.
	Channel Channel

	nonce string
}

// Setup reports whether this is the set-up link: whoever accepts it becomes the first admin, with an address of their own.
func (i Invite) Setup() bool { return i.Email == "" }

// InviteDraft is an invite to be.
type InviteDraft struct {
	Email    string   // made canonical
	Roles    []string // nil: Options.InviteRoles
	Metadata map[string]any
}

// InviteUpdate changes one invite. Fields that are not set stay as they are.
type InviteUpdate struct {
	ID       InviteID
	Accepted Field[bool] // Set(true) closes the invite: its token is dead
	Roles    Field[[]string]
	Metadata Field[map[string]any] // merged as Update.Metadata
}

// CreateInvites makes all of the invites or none, in the order of the drafts. An expired invite for an address is
// renewed: same id, new token. ErrInviteExists names the addresses with an invite that can still be accepted,
// ErrUserExists those of users who have proved theirs; somebody who only claims an address does not keep it from being invited.
func (s *Service) CreateInvites(ctx context.Context, drafts ...InviteDraft) ([]Invite, error) {
	if len(drafts) == 0 {
		return nil, nil
	}
	var invites []Invite
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.inviteRows(drafts)
		if err != nil {
			return err
		}
		if err := s.refuseProvedUsers(ctx, rows); err != nil {
			return err
		}
		made, err := s.store.insertInvites(ctx, rows)
		if err != nil {
			return err
		}
		renewed := map[InviteID]bool{}
		var open []string
		for _, r := range inOrder(rows, (*inviteRow).address) {
			if made[r.ID] {
				continue
			}
			if r.ID, err = s.store.renewExpired(ctx, r); err != nil {
				return err
			}
			if r.ID == "" {
				open = append(open, r.Email)
			}
			renewed[r.ID] = true
		}
		if len(open) > 0 {
			return ErrInviteExists.Msg("Invite with email: %s, already exists.", strings.Join(open, ", "))
		}
		if invites, err = s.store.invitesByID(ctx, inviteIDs(rows)); err != nil {
			return err
		}
		return emitAll(ctx, s.events, invites, func(i Invite) event.Event {
			if renewed[i.ID] {
				return InviteResent{i.ID}
			}
			return InviteCreated{i.ID}
		})
	})
	return invites, err
}

func (s *Service) refuseProvedUsers(ctx context.Context, rows []*inviteRow) error {
	emails := make([]string, len(rows))
	for i, r := range rows {
		emails[i] = r.Email
	}
	users, err := s.store.listUsers(ctx, Filter{Emails: emails}, Page{Limit: len(emails)})
	if err != nil {
		return err
	}
	var proved []string
	for _, u := range users {
		if u.EmailVerified() {
			proved = append(proved, u.Email)
		}
	}
	if len(proved) > 0 {
		return ErrUserExists.Msg("User account for following email(s) already exist: %s", strings.Join(proved, ", "))
	}
	return nil
}

// RetrieveInvite returns the invite, or ErrInviteNotFound. Withdrawn ones are not found; accepted ones are.
func (s *Service) RetrieveInvite(ctx context.Context, id InviteID) (Invite, error) {
	invites, err := s.store.invitesByID(ctx, []InviteID{id})
	if err != nil {
		return Invite{}, err
	}
	if len(invites) == 0 {
		return Invite{}, inviteNotFound(id)
	}
	return invites[0], nil
}

func inviteNotFound(id InviteID) error {
	return ErrInviteNotFound.Msg("Invite with id: %s was not found", id)
}

// HoldOpenInvite returns the invite for the address that can be accepted now, or ErrInviteNotFound. Inside a
// transaction nobody else can accept, renew or withdraw it until that ends.
func (s *Service) HoldOpenInvite(ctx context.Context, address string) (Invite, error) {
	address, err := email.Canonical(address)
	if err != nil {
		return Invite{}, ErrInviteNotFound
	}
	return s.store.holdOpenInvite(ctx, address)
}

// ListInvites returns a page of the invites that match.
func (s *Service) ListInvites(ctx context.Context, f InviteFilter, p Page) ([]Invite, error) {
	return s.store.listInvites(ctx, f, p)
}

// ListAndCountInvites returns a page of the invites that match, and how many match in all.
func (s *Service) ListAndCountInvites(ctx context.Context, f InviteFilter, p Page) ([]Invite, int, error) {
	invites, err := s.store.listInvites(ctx, f, p)
	if err != nil {
		return nil, 0, err
	}
	n, err := s.store.countInvites(ctx, f)
	return invites, n, err
}

// UpdateInvites makes all of the changes or none, and returns the invites in the order of the updates. An unknown invite
// is ErrInviteNotFound. An update that sets nothing leaves UpdatedAt as it is.
func (s *Service) UpdateInvites(ctx context.Context, updates ...InviteUpdate) ([]Invite, error) {
	var invites []Invite
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		ids := make([]InviteID, len(updates))
		for n, up := range updates {
			ids[n] = up.ID
		}
		locked, err := s.store.lockInvites(ctx, ids, living)
		if err != nil {
			return err
		}
		rows := make(map[InviteID]*inviteRow, len(locked))
		for _, r := range locked {
			rows[r.ID] = r
		}
		for _, up := range updates {
			r, ok := rows[up.ID]
			if !ok {
				return inviteNotFound(up.ID)
			}
			if err := s.update(ctx, r, up); err != nil {
				return err
			}
		}
		invites, err = s.store.invitesByID(ctx, ids)
		return err
	})
	return invites, err
}

func (s *Service) update(ctx context.Context, r *inviteRow, up InviteUpdate) error {
	wasOpen := !r.Accepted
	if changed, err := r.apply(up); err != nil || !changed {
		return err
	}
	if err := s.store.updateInvite(ctx, r); err != nil {
		return err
	}
	if wasOpen && r.Accepted {
		return s.events.Emit(ctx, InviteAccepted{r.ID})
	}
	return nil
}

// apply changes the row as the update says and reports whether there was anything to change.
func (r *inviteRow) apply(up InviteUpdate) (changed bool, err error) {
	now := database.Now()
	if up.Accepted.set {
		if up.Accepted.value == nil || (r.Accepted && !*up.Accepted.value) {
			return false, ErrInvalid.Msg("An invite that was accepted cannot be opened again. Make a new one.")
		}
		if *up.Accepted.value && !r.Accepted {
			r.Accepted, r.AcceptedAt, changed = true, now, true
		}
	}
	if up.Roles.set {
		var roles []string
		if up.Roles.value != nil {
			roles = *up.Roles.value
		}
		if r.Roles, err = cleanRoles(roles); err != nil {
			return false, err
		}
		changed = true
	}
	metadata, changes, err := mergeMetadata(r.Metadata, up.Metadata)
	if err != nil {
		return false, err
	}
	if changes {
		r.Metadata, changed = metadata, true
	}
	if changed {
		r.UpdatedAt = now
	}
	return changed, nil
}

// DeleteInvites removes the invites for good, withdrawn ones too; their tokens are dead. Those that do not exist are
// passed over.
func (s *Service) DeleteInvites(ctx context.Context, ids ...InviteID) error {
	return s.removeInvites(ctx, ids, either, s.store.deleteInvites)
}

// SoftDeleteInvites withdraws the invites; their tokens are dead. RestoreInvites brings them back.
func (s *Service) SoftDeleteInvites(ctx context.Context, ids ...InviteID) error {
	return s.removeInvites(ctx, ids, living, s.store.softDeleteInvites)
}

func (s *Service) removeInvites(ctx context.Context, ids []InviteID, which state, remove func(context.Context, []InviteID) error) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.lockInvites(ctx, ids, which)
		if err != nil {
			return err
		}
		if err := remove(ctx, inviteIDs(rows)); err != nil {
			return err
		}
		return emitAll(ctx, s.events, rows, func(r *inviteRow) event.Event { return InviteDeleted{r.ID} })
	})
}

// RestoreInvites undoes SoftDeleteInvites. ErrInviteExists: the address has another open invite by now. A set-up link
// does not come back: make a new one.
func (s *Service) RestoreInvites(ctx context.Context, ids ...InviteID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.lockInvites(ctx, ids, deleted)
		if err != nil {
			return err
		}
		var open []string
		for _, r := range inOrder(rows, (*inviteRow).address) {
			if r.Email == "" {
				continue
			}
			restored, err := s.store.restoreInvite(ctx, r)
			if err != nil {
				return err
			}
			if !restored {
				open = append(open, r.Email)
			}
		}
		if len(open) > 0 {
			return ErrInviteExists.Msg("Invite with email: %s, already exists.", strings.Join(open, ", "))
		}
		return nil
	})
}

// RefreshInviteTokens renews all of the open invites or none: same ids, new tokens and expiry; the tokens before are dead.
// ErrInvalid names those that do not exist, ErrInviteUsed is for accepted ones.
func (s *Service) RefreshInviteTokens(ctx context.Context, ids ...InviteID) ([]Invite, error) {
	var invites []Invite
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.lockInvites(ctx, ids, living)
		if err != nil {
			return err
		}
		if missing := missingIDs(ids, rows); len(missing) > 0 {
			return ErrInvalid.Msg("The following invites do not exist: %s", strings.Join(missing, ", "))
		}
		for _, r := range rows {
			if r.Accepted {
				return ErrInviteUsed.Msg("Invite %s was accepted already and cannot be sent again.", r.ID)
			}
			if err := s.store.renew(ctx, r.ID, s.freshInvite()); err != nil {
				return err
			}
		}
		if invites, err = s.store.invitesByID(ctx, ids); err != nil {
			return err
		}
		return emitAll(ctx, s.events, invites, func(i Invite) event.Event { return InviteResent{i.ID} })
	})
	return invites, err
}

func missingIDs(ids []InviteID, found []*inviteRow) []string {
	var missing []string
	have := map[InviteID]bool{}
	for _, r := range found {
		have[r.ID] = true
	}
	for _, id := range ids {
		if !have[id] {
			missing = append(missing, string(id))
		}
	}
	return missing
}

// ValidateInviteToken returns the invite that the token opens, with the token's Channel. Otherwise the error says why
// it opens none: ErrInviteToken, ErrInviteExpired, ErrInviteUsed, ErrInviteRenewed or ErrInviteRevoked. With
// ErrInviteUsed the invite comes along, so that a repeated accept can be told from a second one.
func (s *Service) ValidateInviteToken(ctx context.Context, token string) (Invite, error) {
	return s.validate(ctx, token, "")
}

// HoldInvite is ValidateInviteToken inside a transaction: nobody else can accept, renew or withdraw the invite until it ends.
func (s *Service) HoldInvite(ctx context.Context, token string) (Invite, error) {
	return s.validate(ctx, token, "UPDATE")
}

func (s *Service) validate(ctx context.Context, token, lock string) (Invite, error) {
	c, err := parseInviteToken(s.inviteKeys, token)
	if err != nil {
		return Invite{}, err
	}
	i, err := s.store.inviteByID(ctx, c.ID, lock)
	if err != nil {
		return Invite{}, err
	}
	i.Channel = c.Channel
	switch {
	case !i.DeletedAt.IsZero():
		return Invite{}, ErrInviteRevoked
	case i.nonce != c.Nonce: // not secret: the signature over it was checked
		return Invite{}, ErrInviteRenewed
	case i.Accepted:
		return i, ErrInviteUsed
	case !i.ExpiresAt.After(time.Now()):
		return Invite{}, ErrInviteExpired
	}
	return i, nil
}

// AcceptInvite closes the invite for the user who is created in the same transaction. Exactly one caller succeeds; the
// others are told, as by ValidateInviteToken, what happened meanwhile. A set-up link is refused with ErrSetupDone once
// there is another admin.
func (s *Service) AcceptInvite(ctx context.Context, i Invite, by ID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		accepted, err := s.store.acceptInvite(ctx, i, by)
		if err != nil {
			return err
		}
		if !accepted {
			_, err := s.ValidateInviteToken(ctx, s.InviteToken(i, i.Channel))
			return cmp.Or(err, error(ErrInviteRenewed))
		}
		if i.Setup() {
			if exists, err := s.store.adminExists(ctx, by); err != nil {
				return err
			} else if exists {
				return ErrSetupDone
			}
		}
		return s.events.Emit(ctx, InviteAccepted{i.ID})
	})
}

// setupTTL is how long a set-up link can be used, whatever invites are given.
const setupTTL = 24 * time.Hour

// SetupInvite returns the invite by which the first admin comes, with a new token: links made before are dead.
// ErrSetupDone: there is an admin already.
func (s *Service) SetupInvite(ctx context.Context) (Invite, error) {
	var invite Invite
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if exists, err := s.store.adminExists(ctx, ""); err != nil {
			return err
		} else if exists {
			return ErrSetupDone
		}
		r := s.freshInvite()
		r.Roles, r.ExpiresAt = database.Strings{RoleAdmin}, r.IssuedAt.Add(setupTTL)
		err := s.store.putSetup(ctx, r)
		invite = r.invite()
		return err
	})
	return invite, err
}

// WithdrawSetup makes every set-up link made so far useless.
func (s *Service) WithdrawSetup(ctx context.Context) error {
	return s.db.InTx(ctx, s.store.withdrawSetup)
}

// freshInvite is a row with a new token and expiry.
func (s *Service) freshInvite() *inviteRow {
	now := database.Now()
	return &inviteRow{
		ID: InviteID(id.New("invite")), Nonce: rand.Text(),
		IssuedAt: now, ExpiresAt: now.Add(s.inviteTTL), CreatedAt: now, UpdatedAt: now,
	}
}

func (s *Service) inviteRows(drafts []InviteDraft) (rows []*inviteRow, err error) {
	for _, d := range drafts {
		r := s.freshInvite()
		if r.Email, err = email.Canonical(d.Email); err != nil {
			return nil, err
		}
		roles := d.Roles
		if roles == nil {
			roles = s.inviteRoles
		}
		if r.Roles, err = cleanRoles(roles); err != nil {
			return nil, err
		}
		if r.Metadata, err = cleanMetadata(d.Metadata); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}
