package user

import (
	"cmp"
	"context"
	"crypto/rand"
	"maps"
	"slices"
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
	TTL        time.Duration // how long its tokens are good, as was asked for; zero: Options.InviteTTL
	Message    string        // for the invited person, plain text; empty: none
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

// InviteStatus is what can be done with an invite.
type InviteStatus string

// The statuses.
const (
	StatusPending  InviteStatus = "pending"  // it can be accepted
	StatusExpired  InviteStatus = "expired"  // it can be renewed
	StatusAccepted InviteStatus = "accepted" // it was accepted
)

// InviteDraft is an invite to be.
type InviteDraft struct {
	Email    string   // made canonical
	Roles    []string // nil: Options.InviteRoles
	Metadata map[string]any
	// Message is for the invited person: plain text of at most MaxMessage characters; empty: none.
	Message string
	// TTL is how long its tokens are good, those of a renewal, too: from a minute to Options.InviteMaxTTL; zero: Options.InviteTTL.
	TTL time.Duration
}

// InviteUpdate changes one invite. Fields that are not set stay as they are.
type InviteUpdate struct {
	ID       InviteID
	Accepted Field[bool] // Set(true) closes the invite: its token is dead
	Roles    Field[[]string]
	Metadata Field[map[string]any] // merged as Update.Metadata
	Message  Field[string]         // as InviteDraft.Message, in the mails and on the page from now on
	TTL      Field[time.Duration]  // as InviteDraft.TTL, from the next renewal on: ExpiresAt stays
}

// InviteRoles are the roles of an invite that names none.
func (s *Service) InviteRoles() []string { return slices.Clone(s.inviteRoles) }

// InviteTTL is how long an invite is open that says nothing of it, and the longest that one can ask for.
func (s *Service) InviteTTL() (usual, longest time.Duration) { return s.inviteTTL, s.inviteMaxTTL }

// CreateInvites makes all of the invites or none, in the order of the drafts. An expired invite for an address is
// renewed: same id, new token. ErrInviteExists is for an address with an invite that can still be accepted, or with a draft
// before, ErrUserExists for that of a user who has proved it; somebody who only claims an address does not keep it from
// being invited. ErrInvitesFull is for what there is no room for within Options.InviteMaxPending. Of several drafts, BadItems
// names all that are bad.
func (s *Service) CreateInvites(ctx context.Context, drafts ...InviteDraft) ([]Invite, error) {
	made, _, err := s.makeInvites(ctx, drafts, (*badItems).err)
	if err != nil || len(made) == 0 {
		return nil, err
	}
	return invitesOf(made), nil
}

// makeInvites makes those of the invites that can be made, and returns them, in the order of their drafts and with the
// indexes of these, and what is wrong with the others. If verdict makes an error of that, it is the call's, and none is made.
func (s *Service) makeInvites(ctx context.Context, drafts []InviteDraft, verdict func(*badItems) error) (invites []*inviteRow, bad badItems, err error) {
	refused := badItems{of: len(drafts)}
	drawn, err := s.inviteRows(ctx, drafts, &refused)
	if err != nil {
		return nil, bad, err
	}
	if len(drawn) == 0 {
		return nil, refused, verdict(&refused)
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		invites, bad = nil, refused
		rows, err := s.refuseProvedUsers(ctx, drawn, &bad)
		if err != nil {
			return err
		}
		if rows, err = s.refuseBeyondRoom(ctx, rows, &bad); err != nil {
			return err
		}
		made, err := s.store.insertInvites(ctx, rows)
		if err != nil {
			return err
		}
		renewed, err := s.renewExpired(ctx, rows, made, &bad)
		if err != nil {
			return err
		}
		if err := verdict(&bad); err != nil {
			return err
		}
		var say []event.Event
		for _, r := range rows {
			if old := renewed[r.index]; old != nil {
				invites, say = append(invites, old), append(say, InviteResent{old.ID})
			} else if made[r.ID] {
				invites, say = append(invites, r), append(say, InviteCreated{r.ID})
			}
		}
		return s.events.Emit(ctx, say...)
	})
	return invites, bad, err
}

// refuseProvedUsers returns those of the rows whose address no user has proved.
func (s *Service) refuseProvedUsers(ctx context.Context, rows []*inviteRow, bad *badItems) (free []*inviteRow, err error) {
	proved, err := s.store.provedEmails(ctx, inviteEmails(rows))
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if !proved[r.Email] {
			free = append(free, r)
		} else if err := bad.add(r.index, ErrUserExists.Msg("User account for following email(s) already exist: %s", r.Email)); err != nil {
			return nil, err
		}
	}
	return free, nil
}

// renewExpired turns expired invites into what those of the rows say that were not made, and returns them by the index of
// their draft.
func (s *Service) renewExpired(ctx context.Context, rows []*inviteRow, made map[InviteID]bool, bad *badItems) (renewed map[int]*inviteRow, err error) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(r *inviteRow) bool { return made[r.ID] })
	if len(rows) == 0 {
		return nil, nil
	}
	locked, err := s.store.lockExpired(ctx, inviteEmails(rows), database.Now())
	if err != nil {
		return nil, err
	}
	expired := make(map[string]*inviteRow, len(locked))
	for _, r := range locked {
		if !made[r.ID] {
			expired[r.Email] = r
		}
	}
	renewed = make(map[int]*inviteRow, len(rows))
	for _, r := range rows {
		old := expired[r.Email]
		if old == nil {
			if err := bad.add(r.index, inviteExists(r.Email)); err != nil {
				return nil, err
			}
			continue
		}
		delete(expired, r.Email) // of two drafts for it the first has it
		old.renew(r)
		old.Roles, old.Metadata, old.Message, old.TTL, old.index = r.Roles, r.Metadata, r.Message, r.TTL, r.index
		renewed[r.index] = old
	}
	return renewed, s.store.updateInvites(ctx, slices.Collect(maps.Values(renewed)))
}

func inviteExists(address string) error {
	return ErrInviteExists.Msg("Invite with email: %s, already exists.", address)
}

// renew gives the invite the token and expiry of a fresh one.
func (r *inviteRow) renew(fresh *inviteRow) {
	r.Nonce, r.IssuedAt, r.ExpiresAt, r.UpdatedAt = fresh.Nonce, fresh.IssuedAt, fresh.ExpiresAt, fresh.UpdatedAt
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
	if n, told := p.total(len(invites)); told {
		return invites, n, nil
	}
	n, err := s.store.countInvites(ctx, f)
	return invites, n, err
}

// UpdateInvites makes all of the changes or none, and returns the invites in the order of the updates. An unknown invite
// is ErrInviteNotFound; of several updates, BadItems names all that are bad. An update that sets nothing leaves UpdatedAt as
// it is.
func (s *Service) UpdateInvites(ctx context.Context, updates ...InviteUpdate) ([]Invite, error) {
	ids := make([]InviteID, len(updates))
	for n, up := range updates {
		ids[n] = up.ID
	}
	var invites []Invite
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.store.lockInvites(ctx, ids, living)
		if err != nil {
			return err
		}
		rows, wasOpen := make(map[InviteID]*inviteRow, len(locked)), make(map[InviteID]bool, len(locked))
		for _, r := range locked {
			rows[r.ID], wasOpen[r.ID] = r, !r.Accepted
		}
		bad := badItems{of: len(updates)}
		edited := make(map[InviteID]bool, len(updates))
		for i, up := range updates {
			r, err := rows[up.ID], error(nil)
			if r == nil {
				err = inviteNotFound(up.ID)
			} else {
				var edits bool
				edits, err = s.applyInvite(ctx, r, up)
				edited[up.ID] = edited[up.ID] || edits
			}
			if err != nil {
				if err := bad.add(i, err); err != nil {
					return err
				}
			}
		}
		if err := bad.err(); err != nil {
			return err
		}
		var write []*inviteRow
		var say []event.Event
		for _, r := range locked {
			accepted := wasOpen[r.ID] && r.Accepted
			if edited[r.ID] {
				say = append(say, InviteUpdated{r.ID})
			}
			if accepted {
				say = append(say, InviteAccepted{r.ID})
			}
			if edited[r.ID] || accepted {
				write = append(write, r)
			}
		}
		if err := s.store.updateInvites(ctx, write); err != nil {
			return err
		}
		invites = inCallOrder(ids, invitesOf(locked), func(i Invite) InviteID { return i.ID })
		return s.events.Emit(ctx, say...)
	})
	return invites, err
}

func invitesOf(rows []*inviteRow) []Invite {
	invites := make([]Invite, len(rows))
	for i, r := range rows {
		invites[i] = r.invite()
	}
	return invites
}

// applyInvite changes the row as the update says and reports whether more than its being accepted is among it.
func (s *Service) applyInvite(ctx context.Context, r *inviteRow, up InviteUpdate) (edited bool, err error) {
	now := database.Now()
	if up.Accepted.set {
		if up.Accepted.value == nil || (r.Accepted && !*up.Accepted.value) {
			return false, ErrInvalid.Msg("An invite that was accepted cannot be opened again. Make a new one.")
		}
		if *up.Accepted.value && !r.Accepted {
			r.Accepted, r.AcceptedAt, r.UpdatedAt = true, now, now
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
		edited = true
	}
	metadata, changes, err := mergeMetadata(r.Metadata, up.Metadata)
	if err != nil {
		return false, err
	}
	if changes {
		if err := s.checkMetadata(ctx, OfInvite, metadata); err != nil {
			return false, err
		}
		r.Metadata, edited = metadata, true
	}
	if up.Message.set {
		if r.Message, err = cleanMessage(up.Message.or()); err != nil {
			return false, err
		}
		edited = true
	}
	if up.TTL.set {
		if err := s.checkTTL(up.TTL.or()); err != nil {
			return false, err
		}
		r.TTL, edited = up.TTL.or(), true
	}
	if edited {
		r.UpdatedAt = now
	}
	return edited, nil
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

// RestoreInvites undoes SoftDeleteInvites. ErrInviteExists: the address has another open invite by now; ErrInvitesFull: there
// is no room for it within Options.InviteMaxPending. Of several invites, BadItems names all of which that is so. A set-up link
// does not come back: make a new one.
func (s *Service) RestoreInvites(ctx context.Context, ids ...InviteID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.lockInvites(ctx, ids, deleted)
		if err != nil {
			return err
		}
		rows = slices.DeleteFunc(rows, func(r *inviteRow) bool { return r.Email == "" })
		room, err := s.room(ctx)
		if err != nil {
			return err
		}
		bad := badItems{of: len(ids)}
		rows = inOrder(rows, (*inviteRow).address)
		restored, err := s.store.restoreInvites(ctx, rows)
		if err != nil {
			return err
		}
		for _, r := range rows {
			var why error
			if !restored[r.ID] {
				why = inviteExists(r.Email)
			} else if r.pending() {
				why = room.take()
			}
			if why != nil {
				if err := bad.add(slices.Index(ids, r.ID), why); err != nil {
					return err
				}
			}
		}
		if err := bad.err(); err != nil {
			return err
		}
		return emitAll(ctx, s.events, rows, func(r *inviteRow) event.Event { return InviteRestored{r.ID} })
	})
}

// RefreshInviteTokens renews all of the open invites or none: same ids, new tokens and expiry; the tokens before are dead.
// ErrInvalid is for those that do not exist, ErrInviteUsed for accepted ones, ErrInvitesFull for expired ones that there is no
// room for within Options.InviteMaxPending; of several invites, BadItems names all of them.
func (s *Service) RefreshInviteTokens(ctx context.Context, ids ...InviteID) ([]Invite, error) {
	var invites []Invite
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.store.lockInvites(ctx, ids, living)
		if err != nil {
			return err
		}
		rows := make(map[InviteID]*inviteRow, len(locked))
		for _, r := range locked {
			rows[r.ID] = r
		}
		room, err := s.room(ctx)
		if err != nil {
			return err
		}
		bad := badItems{of: len(ids)}
		for i, id := range ids {
			err := error(nil)
			if r := rows[id]; r == nil {
				err = ErrInvalid.Msg("The following invites do not exist: %s", id)
			} else if r.Accepted {
				err = ErrInviteUsed.Msg("Invite %s was accepted already and cannot be sent again.", id)
			} else if r.Email != "" && !r.pending() {
				err = room.take()
			}
			if err == nil {
				rows[id].renew(s.freshInvite(min(rows[id].TTL, s.inviteMaxTTL)))
			} else if err := bad.add(i, err); err != nil {
				return err
			}
		}
		if err := bad.err(); err != nil {
			return err
		}
		if err := s.store.updateInvites(ctx, locked); err != nil {
			return err
		}
		invites = inCallOrder(ids, invitesOf(locked), func(i Invite) InviteID { return i.ID })
		return emitAll(ctx, s.events, locked, func(r *inviteRow) event.Event { return InviteResent{r.ID} })
	})
	return invites, err
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
	c, err := parseInviteToken(s.keys, token)
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

// minTTL is the least that can be asked for: a mail takes its time.
const minTTL = time.Minute

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
		r := s.freshInvite(setupTTL)
		r.Roles = database.Strings{RoleAdmin}
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

// freshInvite is a row with a new token, which is good for so long; 0: as long as is usual.
func (s *Service) freshInvite(ttl time.Duration) *inviteRow {
	now := database.Now()
	return &inviteRow{
		ID: InviteID(id.New("invite")), Nonce: rand.Text(),
		IssuedAt: now, ExpiresAt: now.Add(cmp.Or(ttl, s.inviteTTL)), CreatedAt: now, UpdatedAt: now,
	}
}

// inviteRows are the rows of those of the drafts that can be kept.
func (s *Service) inviteRows(ctx context.Context, drafts []InviteDraft, bad *badItems) (rows []*inviteRow, err error) {
	for i, d := range drafts {
		r, err := s.inviteRow(ctx, d)
		if err != nil {
			if err := bad.add(i, err); err != nil {
				return nil, err
			}
			continue
		}
		r.index = i
		rows = append(rows, r)
	}
	return rows, nil
}

// checkTTL refuses what no invite can be open for; zero is what is usual.
func (s *Service) checkTTL(ttl time.Duration) error {
	if ttl != 0 && (ttl < minTTL || ttl > s.inviteMaxTTL) {
		return ErrInvalid.About("expires_in", "An invite can be open for %d to %d seconds.", int(minTTL.Seconds()), int(s.inviteMaxTTL.Seconds()))
	}
	return nil
}

// inviteRow is the row that a draft becomes, or says what is wrong with it.
func (s *Service) inviteRow(ctx context.Context, d InviteDraft) (r *inviteRow, err error) {
	if err := s.checkTTL(d.TTL); err != nil {
		return nil, err
	}
	r = s.freshInvite(d.TTL)
	r.TTL = d.TTL
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
	if r.Message, err = cleanMessage(d.Message); err != nil {
		return nil, err
	}
	return r, s.checkMetadata(ctx, OfInvite, r.Metadata)
}
