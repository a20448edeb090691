package user

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/uptrace/bun"
)

// store is all SQL of this module.
type store struct{ db *database.DB }

type userRow struct {
	bun.BaseModel `bun:"table:latchkey_user,alias:u"`

	ID              ID        `bun:",pk"`
	Email           string    `bun:",nullzero"`
	EmailVerifiedAt time.Time `bun:",nullzero"`
	FirstName       *string
	LastName        *string
	AvatarURL       *string
	Metadata        database.Object
	Search          string
	CreatedVia      string
	DeactivatedAt   time.Time `bun:",nullzero"`
	CreatedAt       time.Time
	UpdatedAt       time.Time
	DeletedAt       time.Time `bun:",nullzero"`

	roles []string
}

type roleRow struct {
	bun.BaseModel `bun:"table:latchkey_user_role,alias:r"`

	UserID ID     `bun:",pk"`
	Role   string `bun:",pk"`
}

type inviteRow struct {
	bun.BaseModel `bun:"table:latchkey_invite,alias:i"`

	ID         InviteID `bun:",pk"`
	Email      string   `bun:",nullzero"`
	Roles      database.Strings
	Accepted   bool
	AcceptedAt time.Time `bun:",nullzero"`
	AcceptedBy ID        `bun:",nullzero"`
	Nonce      string
	IssuedAt   time.Time
	ExpiresAt  time.Time
	Metadata   database.Object
	CreatedAt  time.Time
	UpdatedAt  time.Time
	DeletedAt  time.Time `bun:",nullzero"`
}

func (r *userRow) user(roles []string) User {
	return User{
		ID: r.ID, Email: r.Email, EmailVerifiedAt: database.UTC(r.EmailVerifiedAt),
		FirstName: r.FirstName, LastName: r.LastName, AvatarURL: r.AvatarURL, Metadata: r.Metadata,
		Roles: slices.Sorted(slices.Values(roles)), CreatedVia: r.CreatedVia, DeactivatedAt: database.UTC(r.DeactivatedAt),
		CreatedAt: database.UTC(r.CreatedAt), UpdatedAt: database.UTC(r.UpdatedAt), DeletedAt: database.UTC(r.DeletedAt),
	}
}

func (r *inviteRow) invite() Invite {
	return Invite{
		ID: r.ID, Email: r.Email, Roles: r.Roles, Accepted: r.Accepted, AcceptedAt: database.UTC(r.AcceptedAt), AcceptedBy: r.AcceptedBy,
		IssuedAt: database.UTC(r.IssuedAt), ExpiresAt: database.UTC(r.ExpiresAt), Metadata: r.Metadata,
		CreatedAt: database.UTC(r.CreatedAt), UpdatedAt: database.UTC(r.UpdatedAt), DeletedAt: database.UTC(r.DeletedAt), nonce: r.Nonce,
	}
}

// insertUsers inserts the rows whose address is free, with their roles, and says which they were.
func (s store) insertUsers(ctx context.Context, rows []*userRow) (made map[ID]bool, err error) {
	made = make(map[ID]bool, len(rows))
	for chunk := range slices.Chunk(rows, chunkSize) {
		var inserted []ID
		err := s.db.Conn(ctx).NewInsert().Model(&chunk).
			On("CONFLICT (email) WHERE deleted_at IS NULL DO NOTHING").
			Returning("id").Scan(ctx, &inserted)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("insert users: %w", err)
		}
		for _, id := range inserted {
			made[id] = true
		}
	}
	roles := map[ID][]string{}
	for _, r := range rows {
		if made[r.ID] && len(r.roles) > 0 {
			roles[r.ID] = r.roles
		}
	}
	return made, s.insertRoles(ctx, roles)
}

// chunkSize keeps a statement of many rows at a size both databases take.
const chunkSize = 500

func (s store) insertRoles(ctx context.Context, roles map[ID][]string) error {
	var rows []roleRow
	for id, names := range roles {
		for _, name := range names {
			rows = append(rows, roleRow{UserID: id, Role: name})
		}
	}
	for chunk := range slices.Chunk(rows, chunkSize) {
		_, err := s.db.Conn(ctx).NewInsert().Model(&chunk).On("CONFLICT (user_id, role) DO NOTHING").Exec(ctx)
		if err != nil {
			return fmt.Errorf("insert roles: %w", err)
		}
	}
	return nil
}

// usersByID returns those of the users that live, in the order of the ids.
func (s store) usersByID(ctx context.Context, ids []ID) ([]User, error) {
	found := make(map[ID]User, len(ids))
	for chunk := range slices.Chunk(ids, chunkSize) {
		var rows []*userRow
		err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id IN (?)", bun.List(chunk)).Where("deleted_at IS NULL").Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("read users: %w", err)
		}
		users, err := s.withRoles(ctx, rows)
		if err != nil {
			return nil, err
		}
		for _, u := range users {
			found[u.ID] = u
		}
	}
	users := make([]User, 0, len(found))
	for _, id := range ids {
		if u, ok := found[id]; ok {
			users = append(users, u)
		}
	}
	return users, nil
}

func (s store) userByEmail(ctx context.Context, address string) (User, error) {
	var rows []*userRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("email = ?", address).Where("deleted_at IS NULL").Scan(ctx)
	if err != nil {
		return User{}, fmt.Errorf("read user by e-mail: %w", err)
	}
	users, err := s.withRoles(ctx, rows)
	if err != nil {
		return User{}, err
	}
	if len(users) == 0 {
		return User{}, ErrNotFound
	}
	return users[0], nil
}

func (s store) listUsers(ctx context.Context, f Filter, p Page) ([]User, error) {
	if p.Limit == CountOnly {
		return nil, nil
	}
	var rows []*userRow
	q, err := p.apply(f.apply(s.db.Conn(ctx).NewSelect().Model(&rows)), userOrders)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return s.withRoles(ctx, rows)
}

func (s store) countUsers(ctx context.Context, f Filter) (int, error) {
	n, err := f.apply(s.db.Conn(ctx).NewSelect().Model((*userRow)(nil))).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	return int(n), nil
}

func (s store) withRoles(ctx context.Context, rows []*userRow) ([]User, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	var roles []roleRow
	err := s.db.Conn(ctx).NewSelect().Model(&roles).Where("user_id IN (?)", bun.List(ids(rows))).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read roles: %w", err)
	}
	of := make(map[ID][]string, len(rows))
	for _, r := range roles {
		of[r.UserID] = append(of[r.UserID], r.Role)
	}
	users := make([]User, len(rows))
	for i, r := range rows {
		users[i] = r.user(of[r.ID])
	}
	return users, nil
}

// confirmOwner proves the user's address if it was not proved when it was read, and fails if the row has changed in that
// respect since.
func (s store) confirmOwner(ctx context.Context, u User) (bool, error) {
	now := database.Now()
	q := s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).Set("updated_at = ?", now).
		Where("id = ?", u.ID).Where("email = ?", u.Email).Where("deleted_at IS NULL")
	if u.EmailVerified() {
		q = q.Where("email_verified_at IS NOT NULL")
	} else {
		q = q.Set("email_verified_at = ?", now).Where("email_verified_at IS NULL")
	}
	return database.Touched(q.Exec(ctx))
}

// lockUser reads a living user for change, or says ErrNotFound.
func (s store) lockUser(ctx context.Context, id ID) (*userRow, error) {
	var rows []*userRow
	q := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id = ?", id).Where("deleted_at IS NULL")
	if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
		return nil, fmt.Errorf("lock user: %w", err)
	}
	if len(rows) == 0 {
		return nil, ErrNotFound.Msg("User with id %q not found", id)
	}
	return rows[0], nil
}

// lockUsers locks those of the users that live, always in the same order, and returns their ids.
func (s store) lockUsers(ctx context.Context, ids []ID) ([]ID, error) {
	var found []ID
	q := s.db.Conn(ctx).NewSelect().Model((*userRow)(nil)).Column("id").
		Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NULL").Order("id")
	if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx, &found); err != nil {
		return nil, fmt.Errorf("lock users: %w", err)
	}
	return found, nil
}

func (s store) updateUser(ctx context.Context, r *userRow) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model(r).
		Column("first_name", "last_name", "avatar_url", "metadata", "search", "updated_at").WherePK().Exec(ctx)
	if err != nil {
		return fmt.Errorf("update user: %w", err)
	}
	return nil
}

func (s store) verifyEmail(ctx context.Context, id ID, address string) (changed bool, err error) {
	now := database.Now()
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Set("email_verified_at = ?", now).Set("updated_at = ?", now).
		Where("id = ?", id).Where("email = ?", address).Where("email_verified_at IS NULL").Where("deleted_at IS NULL").Exec(ctx))
}

func (s store) deleteUsers(ctx context.Context, ids []ID) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*userRow)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete users: %w", err)
	}
	return nil
}

func (s store) softDeleteUsers(ctx context.Context, ids []ID) error {
	now := database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Set("deleted_at = ?", now).Set("updated_at = ?", now).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("soft-delete users: %w", err)
	}
	return nil
}

// restoreUsers restores those whose address is free and returns them.
func (s store) restoreUsers(ctx context.Context, ids []ID) (restored []ID, err error) {
	err = s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Set("deleted_at = NULL").Set("updated_at = ?", database.Now()).
		Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NOT NULL").
		Where("NOT EXISTS (SELECT 1 FROM latchkey_user o WHERE o.email = u.email AND o.deleted_at IS NULL)").
		Returning("id").Scan(ctx, &restored)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("restore users: %w", err)
	}
	return restored, nil
}

// deletedEmails returns the addresses of those of the users that are deleted.
func (s store) deletedEmails(ctx context.Context, ids []ID) (emails []string, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*userRow)(nil)).Column("email").
		Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NOT NULL").Order("email").Scan(ctx, &emails)
	if err != nil {
		return nil, fmt.Errorf("read deleted users: %w", err)
	}
	return emails, nil
}

// setDeactivated sets or, for the zero time, clears deactivated_at where it was not so already, and returns those users.
func (s store) setDeactivated(ctx context.Context, ids []ID, at time.Time) (changed []ID, err error) {
	q := s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Set("deactivated_at = ?", bun.NullZero(at)).Set("updated_at = ?", database.Now()).
		Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NULL")
	if at.IsZero() {
		q = q.Where("deactivated_at IS NOT NULL")
	} else {
		q = q.Where("deactivated_at IS NULL")
	}
	if err := q.Returning("id").Scan(ctx, &changed); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("set deactivated: %w", err)
	}
	return changed, nil
}

func (s store) adminExists(ctx context.Context) (bool, error) {
	ok, err := s.db.Conn(ctx).NewSelect().Model((*roleRow)(nil)).
		Where("role = ?", RoleAdmin).
		Where("EXISTS (SELECT 1 FROM latchkey_user u WHERE u.id = r.user_id AND u.deleted_at IS NULL AND u.deactivated_at IS NULL)").
		Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for an admin: %w", err)
	}
	return ok, nil
}

// insertInvites inserts the rows whose address has no open invite, and says which they were.
func (s store) insertInvites(ctx context.Context, rows []*inviteRow) (made map[InviteID]bool, err error) {
	made = make(map[InviteID]bool, len(rows))
	for chunk := range slices.Chunk(rows, chunkSize) {
		var inserted []InviteID
		err := s.db.Conn(ctx).NewInsert().Model(&chunk).
			On("CONFLICT (email) WHERE deleted_at IS NULL AND NOT accepted DO NOTHING").
			Returning("id").Scan(ctx, &inserted)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("insert invites: %w", err)
		}
		for _, id := range inserted {
			made[id] = true
		}
	}
	return made, nil
}

// renewExpired turns the expired open invite for the row's address into the row, keeping its id, which it returns;
// it is empty if there is no such invite.
func (s store) renewExpired(ctx context.Context, r *inviteRow) (id InviteID, err error) {
	err = s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
		Set("nonce = ?", r.Nonce).Set("issued_at = ?", r.IssuedAt).Set("expires_at = ?", r.ExpiresAt).
		Set("roles = ?", r.Roles).Set("metadata = ?", r.Metadata).Set("updated_at = ?", r.UpdatedAt).
		Where("email = ?", r.Email).Where("NOT accepted").Where("deleted_at IS NULL").Where("expires_at <= ?", r.IssuedAt).
		Returning("id").Scan(ctx, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("renew expired invite: %w", err)
	}
	return id, nil
}

// renew gives an open invite a new nonce and expiry and reports whether it was there.
func (s store) renew(ctx context.Context, id InviteID, r *inviteRow) (bool, error) {
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
		Set("nonce = ?", r.Nonce).Set("issued_at = ?", r.IssuedAt).Set("expires_at = ?", r.ExpiresAt).Set("updated_at = ?", r.UpdatedAt).
		Where("id = ?", id).Where("NOT accepted").Where("deleted_at IS NULL").Exec(ctx))
}

// invitesByID returns those of the invites that are there, in the order of the ids; deleted ones only if asked for.
func (s store) invitesByID(ctx context.Context, ids []InviteID, withDeleted bool) ([]Invite, error) {
	found := make(map[InviteID]Invite, len(ids))
	for chunk := range slices.Chunk(ids, chunkSize) {
		var rows []*inviteRow
		q := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id IN (?)", bun.List(chunk))
		if !withDeleted {
			q = q.Where("deleted_at IS NULL")
		}
		if err := q.Scan(ctx); err != nil {
			return nil, fmt.Errorf("read invites: %w", err)
		}
		for _, r := range rows {
			found[r.ID] = r.invite()
		}
	}
	invites := make([]Invite, 0, len(found))
	for _, id := range ids {
		if i, ok := found[id]; ok {
			invites = append(invites, i)
		}
	}
	return invites, nil
}

// inviteByID returns the invite, deleted or not, locked by the clause unless that is empty; ErrInviteRevoked if it is gone.
func (s store) inviteByID(ctx context.Context, id InviteID, lock string) (Invite, error) {
	var rows []*inviteRow
	q := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id = ?", id)
	if lock != "" {
		q = s.db.ForUpdate(q, lock)
	}
	if err := q.Scan(ctx); err != nil {
		return Invite{}, fmt.Errorf("read invite: %w", err)
	}
	if len(rows) == 0 {
		return Invite{}, ErrInviteRevoked
	}
	return rows[0].invite(), nil
}

// holdOpenInvite returns the invite for the address that can be accepted now, locked, if there is one.
func (s store) holdOpenInvite(ctx context.Context, address string) (Invite, error) {
	var rows []*inviteRow
	q := s.db.Conn(ctx).NewSelect().Model(&rows).
		Where("email = ?", address).Where("NOT accepted").Where("deleted_at IS NULL").Where("expires_at > ?", database.Now())
	if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
		return Invite{}, fmt.Errorf("hold open invite: %w", err)
	}
	if len(rows) == 0 {
		return Invite{}, ErrInviteNotFound
	}
	return rows[0].invite(), nil
}

func (s store) listInvites(ctx context.Context, f InviteFilter, p Page) ([]Invite, error) {
	if p.Limit == CountOnly {
		return nil, nil
	}
	var rows []*inviteRow
	q, err := p.apply(f.apply(s.db.Conn(ctx).NewSelect().Model(&rows)), inviteOrders)
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list invites: %w", err)
	}
	invites := make([]Invite, len(rows))
	for i, r := range rows {
		invites[i] = r.invite()
	}
	return invites, nil
}

func (s store) countInvites(ctx context.Context, f InviteFilter) (int, error) {
	n, err := f.apply(s.db.Conn(ctx).NewSelect().Model((*inviteRow)(nil))).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count invites: %w", err)
	}
	return int(n), nil
}

// acceptInvite closes the invite if it is still the one the token was made from, and reports whether it was.
func (s store) acceptInvite(ctx context.Context, i Invite, by ID) (bool, error) {
	now := database.Now()
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
		Set("accepted = TRUE").Set("accepted_at = ?", now).Set("accepted_by = ?", by).Set("updated_at = ?", now).
		Where("id = ?", i.ID).Where("nonce = ?", i.nonce).Where("NOT accepted").Where("deleted_at IS NULL").Where("expires_at > ?", now).Exec(ctx))
}

func (s store) lockInvite(ctx context.Context, id InviteID) (*inviteRow, error) {
	var rows []*inviteRow
	q := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id = ?", id).Where("deleted_at IS NULL")
	if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
		return nil, fmt.Errorf("lock invite: %w", err)
	}
	if len(rows) == 0 {
		return nil, ErrInviteNotFound.Msg("Invite with id: %s was not found", id)
	}
	return rows[0], nil
}

func (s store) updateInvite(ctx context.Context, r *inviteRow) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model(r).
		Column("accepted", "accepted_at", "roles", "metadata", "updated_at").WherePK().Exec(ctx)
	if err != nil {
		return fmt.Errorf("update invite: %w", err)
	}
	return nil
}

func (s store) deleteInvites(ctx context.Context, ids []InviteID) (deleted []InviteID, err error) {
	err = s.db.Conn(ctx).NewDelete().Model((*inviteRow)(nil)).Where("id IN (?)", bun.List(ids)).Returning("id").Scan(ctx, &deleted)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("delete invites: %w", err)
	}
	return deleted, nil
}

func (s store) softDeleteInvites(ctx context.Context, ids []InviteID) (deleted []InviteID, err error) {
	now := database.Now()
	err = s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).Set("deleted_at = ?", now).Set("updated_at = ?", now).
		Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NULL").Returning("id").Scan(ctx, &deleted)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("soft-delete invites: %w", err)
	}
	return deleted, nil
}

// restoreInvites restores those whose address has no other open invite, and returns how many of the ids are still deleted.
func (s store) restoreInvites(ctx context.Context, ids []InviteID) (left int, err error) {
	_, err = s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
		Set("deleted_at = NULL").Set("updated_at = ?", database.Now()).
		Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NOT NULL").
		Where("(accepted OR NOT EXISTS (SELECT 1 FROM latchkey_invite o WHERE o.email = i.email AND o.deleted_at IS NULL AND NOT o.accepted))").
		Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("restore invites: %w", err)
	}
	n, err := s.db.Conn(ctx).NewSelect().Model((*inviteRow)(nil)).Where("id IN (?)", bun.List(ids)).Where("deleted_at IS NOT NULL").Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count deleted invites: %w", err)
	}
	return int(n), nil
}

// setupInvites returns the open set-up links: none or one.
func (s store) setupInvites(ctx context.Context) (ids []InviteID, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*inviteRow)(nil)).Column("id").
		Where("email IS NULL").Where("NOT accepted").Where("deleted_at IS NULL").Order("id").Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("read set-up invites: %w", err)
	}
	return ids, nil
}
