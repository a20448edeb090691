package user

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// ID names a user: user_ and a ULID.
type ID string

// NewID mints an id, for those who need to know it before the user is created.
func NewID() ID { return ID(id.New("user")) }

// The roles that Latchkey itself knows. Others are names to which the configuration or the application gives a meaning.
const (
	RoleAdmin  = "admin"  // may do everything on /admin
	RoleMember = "member" // may see itself
)

// The ways in which a user comes to be, as kept in User.CreatedVia. An app may use others.
const (
	ViaAPI       = "api"        // CreateUsers, by the embedding app
	ViaFirstAuth = "first_auth" // provisioned at the first authentication
	ViaInvite    = "invite"
	ViaCLI       = "cli"
	ViaSetup     = "setup" // by the set-up link, as the first admin
)

// Status is what has become of a user.
type Status string

// The statuses a user can have.
const (
	StatusActive      Status = "active"
	StatusDeactivated Status = "deactivated" // and not deleted
	StatusDeleted     Status = "deleted"     // softly
)

// viaNobody are the ways by which roles come that nobody has granted to the address of the user.
var viaNobody = []string{ViaFirstAuth, ViaSetup}

// User is somebody the application knows. It is a plain value: changing it changes nothing.
type User struct {
	ID              ID
	Email           string    // canonical; empty if there is none
	EmailVerifiedAt time.Time // zero: nobody has proved that the mailbox is theirs
	FirstName       *string
	LastName        *string
	AvatarURL       *string
	Metadata        map[string]any // nil: none
	Roles           []string       // sorted
	CreatedVia      string
	DeactivatedAt   time.Time // zero: active
	CreatedAt       time.Time
	UpdatedAt       time.Time
	DeletedAt       time.Time // zero: not deleted
}

// EmailVerified reports whether the user's address is proved.
func (u User) EmailVerified() bool { return u.Email != "" && !u.EmailVerifiedAt.IsZero() }

// Active reports whether the user may sign in.
func (u User) Active() bool { return u.DeactivatedAt.IsZero() && u.DeletedAt.IsZero() }

// HasRole reports whether the user has the role.
func (u User) HasRole(role string) bool { return slices.Contains(u.Roles, role) }

// Draft is a user to be. Its zero value makes a user without address, name or role.
type Draft struct {
	ID            ID     // minted if empty
	Email         string // made canonical; empty: none
	EmailVerified bool   // the caller vouches that the address was proved
	FirstName     *string
	LastName      *string
	AvatarURL     *string
	Metadata      map[string]any
	Roles         []string
	Via           string // ViaAPI if empty
}

// Update changes one user. Fields that are not set stay as they are. The e-mail address is not among them: it is
// changed by proof, not by edit.
type Update struct {
	ID        ID
	FirstName Field[string]
	LastName  Field[string]
	AvatarURL Field[string]
	// Metadata is merged at the top level: a key set to "" is removed, every other value replaces the one before.
	// Clear removes all of it.
	Metadata Field[map[string]any]
}

// Field is a value that an update may set, clear or, being the zero Field, leave alone.
type Field[T any] struct {
	set   bool
	value *T
}

// Set is the field that becomes v.
func Set[T any](v T) Field[T] { return Field[T]{set: true, value: &v} }

// Clear is the field that becomes null.
func Clear[T any]() Field[T] { return Field[T]{set: true} }

// IsSet reports whether the field changes anything.
func (f Field[T]) IsSet() bool { return f.set }

// or is the value that the field becomes, the zero value for null.
func (f Field[T]) or() (v T) {
	if f.value != nil {
		v = *f.value
	}
	return v
}

// Options are the module's settings. The zero value is usable.
type Options struct {
	InviteTTL        time.Duration // how long an invite can be accepted; 24 h if zero
	InviteMaxTTL     time.Duration // how long a draft may ask for; 30 days, or InviteTTL if that is longer, if zero
	InviteMaxPending int           // how many invites may be open for accepting at a time; as many as are made if zero
	InviteRoles      []string      // the roles of an invite that names none; admin, as Medusa's, if nil
	// CheckMetadata may refuse metadata. It is asked whenever a user or invite is made, and when the metadata of one changes,
	// about the whole of what is to be kept, merged and as JSON gives it, 5 being a float64; nil if there is none. Its error is that of the call: make it a fault of
	// the kind fault.Invalid to tell callers what to mend. It is called inside transactions and must not change what it is given.
	CheckMetadata func(ctx context.Context, of MetadataOf, metadata map[string]any) error
}

// MetadataOf says what metadata belongs to.
type MetadataOf string

// What has metadata.
const (
	OfUser   MetadataOf = "user"
	OfInvite MetadataOf = "invite"
)

// Service keeps users and invites. It is safe for concurrent use.
type Service struct {
	store        store
	db           *database.DB
	events       event.Emitter
	log          *slog.Logger
	keys         *keyring.Ring
	inviteTTL    time.Duration
	inviteMaxTTL time.Duration
	inviteRoles  []string
	check        func(context.Context, MetadataOf, map[string]any) error
	hooks        []Hook
	onDelete     []func(context.Context, []ID) error
	onDeactivate []func(context.Context, []ID) error
	onAddress    []func(context.Context, []string) error

	inviteMaxPending int // 0: no bound
}

// New returns the user module's service. The database must have been migrated with Migrations.
func New(p Params) (*Service, error) {
	if p.DB == nil || p.Keys == nil {
		return nil, errors.New("user: New needs a database and a keyring")
	}
	hooks, err := checkHooks(p.Hooks)
	if err != nil {
		return nil, err
	}
	s := &Service{
		store:       store{p.DB},
		db:          p.DB,
		events:      cmp.Or(p.Events, event.Discard),
		log:         cmp.Or(p.Log, slog.Default()).With("module", "user"),
		keys:        p.Keys,
		inviteTTL:   cmp.Or(p.Options.InviteTTL, 24*time.Hour),
		inviteRoles: p.Options.InviteRoles,
		check:       p.Options.CheckMetadata,
		hooks:       hooks,
	}
	if s.inviteRoles == nil {
		s.inviteRoles = []string{RoleAdmin}
	}
	s.inviteMaxTTL = cmp.Or(p.Options.InviteMaxTTL, max(30*24*time.Hour, s.inviteTTL))
	s.inviteMaxPending = p.Options.InviteMaxPending
	if s.inviteMaxTTL < s.inviteTTL || s.inviteMaxPending < 0 {
		return nil, errors.New("user: InviteMaxTTL must be at least InviteTTL, and InviteMaxPending must not be negative")
	}
	return s, nil
}

// OnDelete registers f to run inside every transaction that deletes users, softly or for good, before the rows change and
// after the hooks. An error rolls the deletion back. It is for packages that are built upon the service, and must be called
// before the service is used; an application has Params.Hooks.
func (s *Service) OnDelete(f func(context.Context, []ID) error) { s.onDelete = append(s.onDelete, f) }

// OnDeactivate registers f to run inside every transaction that deactivates users. An error rolls it back.
func (s *Service) OnDeactivate(f func(context.Context, []ID) error) {
	s.onDeactivate = append(s.onDeactivate, f)
}

// OnAddress registers f to run inside every transaction in which addresses become users', or are proved to be: what
// others are about to do with these addresses is off. Only ChangeEmail does not call it, because its caller is one of
// those. An error rolls the transaction back. Register before the service is used.
func (s *Service) OnAddress(f func(ctx context.Context, addresses []string) error) {
	s.onAddress = append(s.onAddress, f)
}

// addressed runs what waits for the addresses to become somebody's; empty ones are none.
func (s *Service) addressed(ctx context.Context, addresses ...string) error {
	addresses = slices.DeleteFunc(addresses, func(a string) bool { return a == "" })
	if len(addresses) == 0 {
		return nil
	}
	for _, f := range s.onAddress {
		if err := f(ctx, addresses); err != nil {
			return err
		}
	}
	return nil
}

// CreateUsers makes all of the users or none, and returns them in the order of the drafts. ErrEmailTaken: another user, or
// another draft before, has the address; ErrIDTaken likewise; ErrInvalid and email.ErrInvalid say what cannot be kept.
// Of several drafts, BadItems names all that are bad.
func (s *Service) CreateUsers(ctx context.Context, drafts ...Draft) ([]User, error) {
	refused := badItems{of: len(drafts)}
	rows, err := s.newRows(ctx, drafts, &refused)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, refused.err()
	}
	var users []User
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		bad := refused
		rows, err := s.freeIDs(ctx, rows, drafts, &bad)
		if err != nil {
			return err
		}
		made, err := s.store.insertUsers(ctx, rows)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if !made[r.ID] {
				if err := bad.add(r.index, emailTaken(r.Email)); err != nil {
					return err
				}
			}
		}
		if err := bad.err(); err != nil {
			return err
		}
		if err := s.addressed(ctx, addresses(rows)...); err != nil {
			return err
		}
		users = make([]User, len(rows))
		for i, r := range rows {
			users[i] = r.user(r.roles)
		}
		return s.created(ctx, users...)
	})
	return users, err
}

func emailTaken(address string) error {
	return ErrEmailTaken.Msg("User with email: %s, already exists.", address)
}

// freeIDs returns those of the rows whose id nobody has. Only an id that a draft brings along is looked for.
func (s *Service) freeIDs(ctx context.Context, rows []*userRow, drafts []Draft, bad *badItems) (free []*userRow, err error) {
	var given []ID
	for _, r := range rows {
		if drafts[r.index].ID != "" {
			given = append(given, r.ID)
		}
	}
	if given == nil {
		return rows, nil
	}
	taken, err := s.store.takenIDs(ctx, given)
	if err != nil {
		return nil, err
	}
	seen := make(map[ID]bool, len(rows))
	for _, r := range rows {
		if !taken[r.ID] && !seen[r.ID] {
			free, seen[r.ID] = append(free, r), true
		} else if err := bad.add(r.index, ErrIDTaken.Msg("User with id: %s, already exists.", r.ID)); err != nil {
			return nil, err
		}
	}
	return free, nil
}

// Ensure creates the user unless one with the address exists, and returns whichever it is. A taken address is no error,
// so that a transaction in which two first sign-ins race goes on. A draft without an address is always created.
func (s *Service) Ensure(ctx context.Context, draft Draft) (u User, created bool, err error) {
	bad := badItems{of: 1}
	rows, err := s.newRows(ctx, []Draft{draft}, &bad)
	if err = cmp.Or(err, bad.err()); err != nil {
		return User{}, false, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		for range attempts {
			made, err := s.store.insertUsers(ctx, rows)
			if err != nil {
				return err
			}
			if created = made[rows[0].ID]; created {
				u = rows[0].user(rows[0].roles)
				if err := s.addressed(ctx, u.Email); err != nil {
					return err
				}
				return s.created(ctx, u)
			}
			u, err = s.store.userByEmail(ctx, rows[0].Email)
			if !errors.Is(err, ErrNotFound) { // else they were deleted in between
				return err
			}
		}
		return errors.New("user: Ensure met a user each time it tried to make one, and nobody when it looked")
	})
	return u, created, err
}

// attempts is how often Ensure tries; more than one is rare.
const attempts = 10

// RetrieveUser returns the user, or ErrNotFound. Deleted users are not found.
func (s *Service) RetrieveUser(ctx context.Context, id ID) (User, error) {
	users, err := s.store.usersByID(ctx, []ID{id})
	if err != nil {
		return User{}, err
	}
	if len(users) == 0 {
		return User{}, ErrNotFound.Msg("User with id: %s was not found", id)
	}
	return users[0], nil
}

// HoldUser returns the user, a softly deleted one too, or ErrNotFound. Inside a transaction nobody else can change them or
// their roles until that ends.
func (s *Service) HoldUser(ctx context.Context, id ID) (User, error) {
	rows, err := s.store.lockUsers(ctx, []ID{id}, either)
	if err != nil {
		return User{}, err
	}
	users, err := s.store.withRoles(ctx, rows)
	if err != nil {
		return User{}, err
	}
	if len(users) == 0 {
		return User{}, ErrNotFound.Msg("User with id: %s was not found", id)
	}
	return users[0], nil
}

// FindUser returns the user who has the address, or ErrNotFound.
func (s *Service) FindUser(ctx context.Context, address string) (User, error) {
	address, err := email.Canonical(address)
	if err != nil {
		return User{}, err
	}
	return s.store.userByEmail(ctx, address)
}

// ListUsers returns a page of the users that match.
func (s *Service) ListUsers(ctx context.Context, f Filter, p Page) ([]User, error) {
	return s.store.listUsers(ctx, f, p)
}

// ListAndCountUsers returns a page of the users that match, and how many match in all.
func (s *Service) ListAndCountUsers(ctx context.Context, f Filter, p Page) ([]User, int, error) {
	users, err := s.store.listUsers(ctx, f, p)
	if err != nil {
		return nil, 0, err
	}
	if n, told := p.total(len(users)); told {
		return users, n, nil
	}
	n, err := s.store.countUsers(ctx, f)
	return users, n, err
}

// MissingIndexes returns the statements that make searching fast, where the database has not let the migrations do it: on
// PostgreSQL they need the extension pg_trgm, and not everybody may make that. Until somebody who may has run them, one
// after the other, a search finds the same and reads every row. None: nothing is missing.
func (s *Service) MissingIndexes(ctx context.Context) ([]string, error) {
	return s.store.missingIndexes(ctx)
}

// UpdateUsers makes all of the changes or none, and returns the users in the order of the updates. An unknown user is
// ErrNotFound; of several updates, BadItems names all that are bad. An update that sets nothing leaves UpdatedAt as it is.
func (s *Service) UpdateUsers(ctx context.Context, updates ...Update) ([]User, error) {
	var users []User
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.store.lockUsers(ctx, updateIDs(updates), living)
		if err != nil {
			return err
		}
		rows := make(map[ID]*userRow, len(locked))
		for _, r := range locked {
			rows[r.ID] = r
		}
		bad := badItems{of: len(updates)}
		changed := make(map[ID]bool, len(updates))
		for i, up := range updates {
			r, err := rows[up.ID], error(nil)
			if r == nil {
				err = notFound(up.ID)
			} else {
				var changes bool
				changes, err = s.apply(ctx, r, up)
				changed[up.ID] = changed[up.ID] || changes
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
		write := slices.DeleteFunc(slices.Clone(locked), func(r *userRow) bool { return !changed[r.ID] })
		if err := s.store.updateUsers(ctx, write); err != nil {
			return err
		}
		now, err := s.store.withRoles(ctx, locked)
		if err != nil {
			return err
		}
		users = inCallOrder(updateIDs(updates), now, func(u User) ID { return u.ID })
		return s.updated(ctx, ids(write)...)
	})
	return users, err
}

// inCallOrder returns for each of the ids what has it.
func inCallOrder[ID comparable, T any](ids []ID, of []T, id func(T) ID) []T {
	by := make(map[ID]T, len(of))
	for _, x := range of {
		by[id(x)] = x
	}
	out := make([]T, len(ids))
	for i, id := range ids {
		out[i] = by[id]
	}
	return out
}

func notFound(id ID) error { return ErrNotFound.Msg("User with id %q not found", id) }

// AddRoles gives the user the roles it does not have yet.
func (s *Service) AddRoles(ctx context.Context, id ID, roles ...string) error {
	return s.Grant(ctx, id, ViaAPI, roles...)
}

// Grant is AddRoles for roles that come by another way than the embedding app's word: see ConfirmOwner.
func (s *Service) Grant(ctx context.Context, id ID, via string, roles ...string) error {
	roles, err := cleanRoles(roles)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if locked, err := s.store.lockUsers(ctx, []ID{id}, living); err != nil {
			return err
		} else if len(locked) == 0 {
			return notFound(id)
		}
		if !slices.Contains(viaNobody, via) {
			if err := s.store.regrant(ctx, id, via, roles); err != nil {
				return err
			}
		}
		given, err := s.store.insertRoles(ctx, roleRows(id, via, roles))
		if err != nil || len(given) == 0 {
			return err
		}
		return s.updatedRoles(ctx, Updated{ID: id, Given: named(given)})
	})
}

// RemoveRoles takes from the user those of the roles that they have. ErrLastAdmin: it would leave nobody who can act as
// an admin; of any number of admins who take the role from each other at once, one is left.
func (s *Service) RemoveRoles(ctx context.Context, id ID, roles ...string) error {
	roles, err := cleanRoles(roles)
	if err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, keep, err := s.lockEnding(ctx, []ID{id}, living)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return notFound(id)
		}
		removed, err := s.store.deleteNamedRoles(ctx, id, roles)
		if err != nil || len(removed) == 0 {
			return err
		}
		if err := s.updatedRoles(ctx, Updated{ID: id, Taken: named(removed)}); err != nil { // with hooks, which may wait for whoever waits to count
			return err
		}
		return keep(ctx)
	})
}

// VerifyEmail records that the user's mailbox was proved to be theirs. It does nothing if the user's address is by now
// another one, or is proved already.
func (s *Service) VerifyEmail(ctx context.Context, id ID, address string) error {
	address, err := email.Canonical(address)
	if err != nil {
		return nil //nolint:nilerr // nobody has what is no address
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		changed, err := s.store.verifyEmail(ctx, id, address)
		if err != nil || !changed {
			return err
		}
		if err := s.addressed(ctx, address); err != nil {
			return err
		}
		return s.updated(ctx, id)
	})
}

// ConfirmOwner records that the owner of the user's mailbox has shown up, and proves the address if it was not proved; of
// a user whose address is proved nothing changes. Otherwise the user loses what was not granted to that address by somebody
// who may: roles beyond member that came with a first sign-in or the set-up link.
// It reports false if, since u was read, the address was proved or changed or the user deleted, deactivated or
// reactivated: then decide again.
//
// This is the one way by which the last admin can go: who became one by the set-up link with an address that is somebody
// else's. To keep them would hand the application to that somebody, or leave the mailbox's owner outside. It is logged as an
// error, and from then on SetupInvite makes a link again.
func (s *Service) ConfirmOwner(ctx context.Context, u User) (ok bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if ok, err = s.store.confirmOwner(ctx, u); err != nil || !ok {
			return err
		}
		if u.EmailVerified() {
			return nil // nothing of the user has changed
		}
		if err := s.addressed(ctx, u.Email); err != nil {
			return err
		}
		removed, err := s.store.deleteRoles(ctx, u.ID, viaNobody, RoleMember)
		if err != nil {
			return err
		}
		if err := s.updatedRoles(ctx, Updated{ID: u.ID, Taken: named(removed)}); err != nil || !slices.Contains(removed, RoleAdmin) {
			return err
		}
		return s.warnWithoutAdmin(ctx, u.ID)
	})
	return ok, err
}

// DeleteUsers removes the users for good, softly deleted ones too. Those who do not exist are passed over. ErrLastAdmin: no
// active admin would be left.
func (s *Service) DeleteUsers(ctx context.Context, ids ...ID) error {
	return s.remove(ctx, ids, either, s.store.deleteUsers)
}

// SoftDeleteUsers hides the users from every read and frees their addresses; RestoreUsers brings them back.
// Those who do not exist are passed over. ErrLastAdmin: no active admin would be left.
func (s *Service) SoftDeleteUsers(ctx context.Context, ids ...ID) error {
	return s.remove(ctx, ids, living, s.store.softDeleteUsers)
}

func (s *Service) remove(ctx context.Context, of []ID, which state, remove func(context.Context, []ID) error) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, keep, err := s.lockEnding(ctx, of, which)
		if err != nil || len(rows) == 0 {
			return err
		}
		found := ids(rows)
		if err := runHooks(ctx, s.hooks, func(h Hook) func(context.Context, []ID) error { return h.OnDelete }, found); err != nil {
			return err
		}
		for _, f := range s.onDelete {
			if err := f(ctx, found); err != nil {
				return err
			}
		}
		if err := remove(ctx, found); err != nil {
			return err
		}
		if err := keep(ctx); err != nil {
			return err
		}
		return emitAll(ctx, s.events, found, func(id ID) event.Event { return Deleted{id} })
	})
}

// RestoreUsers undoes SoftDeleteUsers. ErrEmailTaken: somebody else has the address by now; of several users, BadItems names
// all of whom that is so. What was deleted along with a user, such as the ways to sign in, does not come back. Those who are
// not deleted are passed over.
func (s *Service) RestoreUsers(ctx context.Context, of ...ID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.lockUsers(ctx, of, deleted)
		if err != nil {
			return err
		}
		bad := badItems{of: len(of)}
		rows = inOrder(rows, (*userRow).address)
		restored, err := s.store.restoreUsers(ctx, rows)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if !restored[r.ID] {
				if err := bad.add(slices.Index(of, r.ID), emailTaken(r.Email)); err != nil {
					return err
				}
			}
		}
		if err := bad.err(); err != nil {
			return err
		}
		if err := s.addressed(ctx, addresses(rows)...); err != nil {
			return err
		}
		return s.restored(ctx, ids(rows)...)
	})
}

// DeactivateUsers keeps the users from signing in and ends what they are signed in to; the records stay. Those who do not
// exist, or are deactivated already, are passed over. ErrLastAdmin: no active admin would be left.
func (s *Service) DeactivateUsers(ctx context.Context, of ...ID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, keep, err := s.lockEnding(ctx, of, active)
		if err != nil || len(rows) == 0 {
			return err
		}
		found := ids(rows)
		if err := s.store.setDeactivated(ctx, found, database.Now()); err != nil {
			return err
		}
		for _, f := range s.onDeactivate {
			if err := f(ctx, found); err != nil {
				return err
			}
		}
		if err := keep(ctx); err != nil {
			return err
		}
		return emitAll(ctx, s.events, found, func(id ID) event.Event { return Deactivated{id} })
	})
}

// ReactivateUsers undoes DeactivateUsers. Those who do not exist, or are active, are passed over.
func (s *Service) ReactivateUsers(ctx context.Context, of ...ID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.lockUsers(ctx, of, inactive)
		if err != nil {
			return err
		}
		if err := s.store.setDeactivated(ctx, ids(rows), time.Time{}); err != nil {
			return err
		}
		return emitAll(ctx, s.events, rows, func(r *userRow) event.Event { return Reactivated{r.ID} })
	})
}

// AdminExists reports whether an active user has the role admin.
func (s *Service) AdminExists(ctx context.Context) (bool, error) { return s.store.adminExists(ctx, "") }

// IsSetupAdmin reports whether the user is an admin by the set-up link, whatever else gave them the role before or since.
func (s *Service) IsSetupAdmin(ctx context.Context, id ID) (bool, error) {
	return s.store.isSetupAdmin(ctx, id)
}

// created, updated and restored are what follows in the transaction when users were made, have changed or came back: the
// hooks, then the events.

func (s *Service) created(ctx context.Context, users ...User) error {
	if err := runHooks(ctx, s.hooks, func(h Hook) func(context.Context, []User) error { return h.OnCreate }, users); err != nil {
		return err
	}
	return emitAll(ctx, s.events, users, func(u User) event.Event { return Created{u.ID} })
}

func (s *Service) updated(ctx context.Context, ids ...ID) error {
	if err := s.runOn(ctx, ids, func(h Hook) func(context.Context, []User) error { return h.OnUpdate }); err != nil {
		return err
	}
	return emitAll(ctx, s.events, ids, func(id ID) event.Event { return Updated{ID: id} })
}

// updatedRoles is updated for one user, whose roles have changed.
func (s *Service) updatedRoles(ctx context.Context, u Updated) error {
	if err := s.runOn(ctx, []ID{u.ID}, func(h Hook) func(context.Context, []User) error { return h.OnUpdate }); err != nil {
		return err
	}
	return s.events.Emit(ctx, u)
}

// named puts roles in an order: admin first, so that it is the last to be cut off.
func named(roles []string) string {
	slices.Sort(roles)
	if i := slices.Index(roles, RoleAdmin); i > 0 {
		roles = slices.Insert(slices.Delete(roles, i, i+1), 0, RoleAdmin)
	}
	return strings.Join(roles, " ")
}

func (s *Service) restored(ctx context.Context, ids ...ID) error {
	if err := s.runOn(ctx, ids, func(h Hook) func(context.Context, []User) error { return h.OnRestore }); err != nil {
		return err
	}
	return emitAll(ctx, s.events, ids, func(id ID) event.Event { return Restored{id} })
}

// runOn runs hooks on users who are read for them, if there are any of each.
func (s *Service) runOn(ctx context.Context, ids []ID, of func(Hook) func(context.Context, []User) error) error {
	if len(ids) == 0 || !slices.ContainsFunc(s.hooks, func(h Hook) bool { return of(h) != nil }) {
		return nil
	}
	users, err := s.store.usersByID(ctx, ids)
	if err != nil {
		return err
	}
	return runHooks(ctx, s.hooks, of, users)
}

func emitAll[T any](ctx context.Context, to event.Emitter, of []T, name func(T) event.Event) error {
	events := make([]event.Event, len(of))
	for i, x := range of {
		events[i] = name(x)
	}
	return to.Emit(ctx, events...)
}

// newRows are the rows of those of the drafts that can be kept.
func (s *Service) newRows(ctx context.Context, drafts []Draft, bad *badItems) ([]*userRow, error) {
	now := database.Now()
	rows := make([]*userRow, 0, len(drafts))
	for i, d := range drafts {
		r, err := s.newRow(ctx, d, now)
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

var errID = ErrInvalid.Msg("A user's id must be user_ followed by a ULID.")

func (s *Service) newRow(ctx context.Context, d Draft, now time.Time) (*userRow, error) {
	r := &userRow{
		ID: cmp.Or(d.ID, NewID()), FirstName: d.FirstName, LastName: d.LastName, AvatarURL: d.AvatarURL,
		CreatedVia: cmp.Or(d.Via, ViaAPI), CreatedAt: now, UpdatedAt: now,
	}
	if !id.Valid("user", string(r.ID)) {
		return nil, errID
	}
	var err error
	if d.Email != "" {
		if r.Email, err = email.Canonical(d.Email); err != nil {
			return nil, err
		}
		if d.EmailVerified {
			r.EmailVerifiedAt = now
		}
	}
	if r.roles, err = cleanRoles(d.Roles); err != nil {
		return nil, err
	}
	if r.Metadata, err = cleanMetadata(d.Metadata); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return r, s.checkMetadata(ctx, OfUser, r.Metadata)
}

// checkMetadata asks the application.
func (s *Service) checkMetadata(ctx context.Context, of MetadataOf, metadata map[string]any) error {
	if s.check == nil {
		return nil
	}
	if err := s.check(ctx, of, metadata); err != nil {
		return fmt.Errorf("check metadata of %s: %w", of, err)
	}
	return nil
}

// apply changes the row as the update says and reports whether there was anything to change.
func (s *Service) apply(ctx context.Context, r *userRow, up Update) (changed bool, err error) {
	for _, f := range []struct {
		to  **string
		set Field[string]
	}{{&r.FirstName, up.FirstName}, {&r.LastName, up.LastName}, {&r.AvatarURL, up.AvatarURL}} {
		if f.set.set && !same(*f.to, f.set.value) {
			*f.to, changed = f.set.value, true
		}
	}
	metadata, changes, err := mergeMetadata(r.Metadata, up.Metadata)
	if err != nil {
		return false, err
	}
	if changes {
		if err := s.checkMetadata(ctx, OfUser, metadata); err != nil {
			return false, err
		}
		changed = changed || !reflect.DeepEqual(map[string]any(r.Metadata), metadata)
		r.Metadata = metadata
	}
	if !changed { // sent again, it is no news
		return false, nil
	}
	r.UpdatedAt = database.Now()
	return true, r.check()
}

// same reports whether two values, of which nil is none, are the same.
func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// mergeMetadata returns what becomes of the old metadata, and whether the field says anything about it.
func mergeMetadata(old map[string]any, with Field[map[string]any]) (merged map[string]any, changes bool, err error) {
	switch {
	case !with.set, with.value != nil && len(*with.value) == 0:
		return old, false, nil
	case with.value == nil:
		return nil, true, nil
	}
	merged, err = cleanMetadata(database.Object(old).Merge(*with.value))
	return merged, true, err
}

// The limits of what is kept with a user or invite, in bytes.
const (
	maxText     = 1024
	maxMetadata = 16 << 10
	maxRoles    = 64
)

func (r *userRow) check() error {
	for _, f := range []struct {
		name string
		v    *string
	}{{"first_name", r.FirstName}, {"last_name", r.LastName}, {"avatar_url", r.AvatarURL}, {"created_via", &r.CreatedVia}} {
		if f.v != nil && !database.Storable(*f.v, maxText) {
			return ErrInvalid.About(f.name, "%s must be text of at most %d bytes without NUL characters.", f.name, maxText)
		}
	}
	parts := []string{r.Email}
	for _, v := range []*string{r.FirstName, r.LastName} {
		if v != nil {
			parts = append(parts, *v)
		}
	}
	r.Search = strings.ToLower(strings.Join(parts, "\n"))
	return nil
}

func cleanRoles(roles []string) ([]string, error) {
	roles = slices.Clone(roles)
	slices.Sort(roles)
	roles = slices.Compact(roles)
	if len(roles) > maxRoles {
		return nil, ErrInvalid.About("roles", "roles must be at most %d.", maxRoles)
	}
	for _, r := range roles {
		if r == "" || !database.Storable(r, 64) || strings.ContainsFunc(r, func(c rune) bool { return c <= ' ' || c == ',' || c == 0x7f }) {
			return nil, ErrInvalid.About("roles", "A role must be a name of 1 to 64 bytes, without spaces and commas.")
		}
	}
	return roles, nil
}

// cleanMetadata returns m as it will be read back, or says why it cannot be kept.
func cleanMetadata(m map[string]any) (map[string]any, error) {
	clean, err := database.Object(m).Checked(maxMetadata)
	if err != nil {
		return nil, ErrInvalid.About("metadata", "metadata %v.", err)
	}
	return clean, nil
}

func ids(rows []*userRow) []ID {
	out := make([]ID, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}

func addresses(rows []*userRow) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.Email
	}
	return out
}

func updateIDs(updates []Update) []ID {
	out := make([]ID, len(updates))
	for i, u := range updates {
		out[i] = u.ID
	}
	return out
}
