package user

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
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

	Role string `bun:",scanonly"` // one of the roles, where a user is read with them; empty: none

	roles []string
	index int // of the draft, in the call that makes users
}

type roleRow struct {
	bun.BaseModel `bun:"table:latchkey_user_role,alias:r"`

	UserID     ID     `bun:",pk"`
	Role       string `bun:",pk"`
	GrantedVia string
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
	TTL        time.Duration `bun:",nullzero"`
	Message    string        `bun:",nullzero"`
	Metadata   database.Object
	CreatedAt  time.Time
	UpdatedAt  time.Time
	DeletedAt  time.Time `bun:",nullzero"`

	index int // of the draft, in the call that makes invites
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
		IssuedAt: database.UTC(r.IssuedAt), ExpiresAt: database.UTC(r.ExpiresAt), TTL: r.TTL, Message: r.Message, Metadata: r.Metadata,
		CreatedAt: database.UTC(r.CreatedAt), UpdatedAt: database.UTC(r.UpdatedAt), DeletedAt: database.UTC(r.DeletedAt), nonce: r.Nonce,
	}
}

func (r *userRow) address() string   { return r.Email }
func (r *inviteRow) address() string { return r.Email }

// inOrder sorts the rows by address: transactions that take several in the same order wait, but not for each other.
func inOrder[R any](rows []R, address func(R) string) []R {
	return slices.SortedStableFunc(slices.Values(rows), func(a, b R) int { return cmp.Compare(address(a), address(b)) })
}

// A state is a condition on the rows that a statement is about.
type state string

const (
	living   state = "deleted_at IS NULL"
	active   state = "deleted_at IS NULL AND deactivated_at IS NULL"
	inactive state = "deleted_at IS NULL AND deactivated_at IS NOT NULL"
	deleted  state = "deleted_at IS NOT NULL"
	either   state = "TRUE"
)

// insertUsers inserts the rows whose address is free, with their roles, and says which they were.
func (s store) insertUsers(ctx context.Context, rows []*userRow) (made map[ID]bool, err error) {
	made = make(map[ID]bool, len(rows))
	for chunk := range slices.Chunk(inOrder(rows, (*userRow).address), chunkSize) {
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
	var roles []roleRow
	for _, r := range rows {
		if made[r.ID] {
			roles = append(roles, roleRows(r.ID, r.CreatedVia, r.roles)...)
		}
	}
	_, err = s.insertRoles(ctx, roles)
	return made, err
}

// chunkSize keeps a statement of many rows at a size both databases take.
const chunkSize = 500

// insertRoles gives users the roles that they do not have, and says which these were.
func (s store) insertRoles(ctx context.Context, rows []roleRow) (given []string, err error) {
	for chunk := range slices.Chunk(rows, chunkSize) {
		var some []string
		err := s.db.Conn(ctx).NewInsert().Model(&chunk).On("CONFLICT (user_id, role) DO NOTHING").Returning("role").Scan(ctx, &some)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("insert roles: %w", err)
		}
		given = append(given, some...)
	}
	return given, nil
}

// regrant makes roles that nobody had granted to the user ones that somebody has.
func (s store) regrant(ctx context.Context, id ID, via string, roles []string) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*roleRow)(nil)).Set("granted_via = ?", via).
		Where("user_id = ?", id).Where("role IN (?)", bun.List(roles)).Where("granted_via IN (?)", bun.List(viaNobody)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("grant roles anew: %w", err)
	}
	return nil
}

func roleRows(id ID, via string, roles []string) []roleRow {
	rows := make([]roleRow, len(roles))
	for i, role := range roles {
		rows[i] = roleRow{UserID: id, Role: role, GrantedVia: via}
	}
	return rows
}

// deleteRoles takes from a user the roles that were granted in one of the ways, but for one role, and says which these were.
func (s store) deleteRoles(ctx context.Context, id ID, via []string, but string) (removed []string, err error) {
	err = s.db.Conn(ctx).NewDelete().Model((*roleRow)(nil)).
		Where("user_id = ?", id).Where("granted_via IN (?)", bun.List(via)).Where("role <> ?", but).Returning("role").Scan(ctx, &removed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("delete roles: %w", err)
	}
	return removed, nil
}

// deleteNamedRoles takes those of the roles from a user that they have, and says which these were.
func (s store) deleteNamedRoles(ctx context.Context, id ID, roles []string) (removed []string, err error) {
	err = s.db.Conn(ctx).NewDelete().Model((*roleRow)(nil)).
		Where("user_id = ?", id).Where("role IN (?)", bun.List(roles)).Returning("role").Scan(ctx, &removed)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("delete roles: %w", err)
	}
	return removed, nil
}

// usersByID returns those of the users that live, in the order of the ids.
func (s store) usersByID(ctx context.Context, ids []ID) ([]User, error) {
	found := make(map[ID]User, len(ids))
	for chunk := range slices.Chunk(ids, chunkSize) {
		users, err := s.livingUsers(ctx, "u.id IN (?)", database.List(chunk...))
		if err != nil {
			return nil, fmt.Errorf("read users: %w", err)
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
	users, err := s.livingUsers(ctx, "u.email = ?", address)
	if err != nil {
		return User{}, fmt.Errorf("read user by e-mail: %w", err)
	}
	if len(users) == 0 {
		return User{}, ErrNotFound
	}
	return users[0], nil
}

// livingUsers returns the users who live and of whom the condition holds. It is in the way of every request, so it is one
// statement, with a row for each role of a user.
func (s store) livingUsers(ctx context.Context, condition string, args ...any) (users []User, err error) {
	var rows []*userRow
	err = s.db.Conn(ctx).NewSelect().Model(&rows).ColumnExpr("u.*, r.role").
		Join("LEFT JOIN latchkey_user_role r ON r.user_id = u.id").
		Where(condition, args...).Where("u.deleted_at IS NULL").Scan(ctx)
	if err != nil {
		return nil, err
	}
	of := make(map[ID][]string, len(rows))
	for _, r := range rows {
		of[r.ID] = append(of[r.ID], r.Role)
	}
	for _, r := range rows {
		if roles, first := of[r.ID]; first {
			users = append(users, r.user(slices.DeleteFunc(roles, func(role string) bool { return role == "" })))
			delete(of, r.ID)
		}
	}
	return users, nil
}

func (s store) listUsers(ctx context.Context, f Filter, p Page) ([]User, error) {
	w, err := f.where(s.db.Dialect())
	if err == nil && s.db.Dialect() == database.SQLite && p.Limit != CountOnly {
		w, err = s.walked(ctx, f, w)
	}
	if err != nil {
		return nil, err
	}
	rows, err := readPage[userRow](ctx, s, w, p, userOrders)
	if err != nil {
		return nil, err
	}
	return s.withRoles(ctx, rows)
}

// many is so many users that a page of them is found sooner by walking through all in the order of the list.
const many = 4000

// walked is the filter for a page on SQLite, which always begins with all who have a role, or in whom a word occurs, and puts them in order. Where
// these are many, it is to walk through the users in their order instead, by an index, until the page is full. PostgreSQL knows by itself
// how many there are.
func (s store) walked(ctx context.Context, f Filter, w where) (where, error) {
	rest := f
	rest.Q, rest.Roles, rest.Status, rest.WithDeleted = "", nil, "", false
	if f.Q == "" && len(f.Roles) == 0 || f.Status != "" && f.Status != StatusActive || !reflect.ValueOf(rest).IsZero() {
		return w, nil // nothing to walk for, or the rest leaves few
	}
	words := w.words
	if w.match != "" {
		found, err := s.areMany(ctx, "latchkey_user_trigram MATCH ?", "latchkey_user_trigram", w.match)
		if err != nil || !found {
			return w, err
		}
		words = words[1:]
	}
	had := false
	if len(f.Roles) > 0 {
		var err error
		if had, err = s.areMany(ctx, "role IN (?)", "latchkey_user_role", database.List(f.Roles...)); err != nil || !had && w.match == "" {
			return w, err
		}
	}
	rest.Status, rest.WithDeleted = f.Status, f.WithDeleted
	if !had {
		rest.Roles = f.Roles
	}
	walk, err := rest.where(database.SQLite)
	walk.all = append(walk.all, words...)
	if had {
		walk.add("EXISTS (SELECT 1 FROM latchkey_user_role WHERE user_id = u.id AND role IN (?))", database.List(f.Roles...))
	}
	return walk, err
}

// areMany reports whether the condition holds of many rows of the table.
func (s store) areMany(ctx context.Context, condition, table string, arg any) (bool, error) {
	var n int
	err := s.db.Conn(ctx).NewRaw("SELECT count(*) FROM (SELECT 1 FROM ? WHERE "+condition+" LIMIT ?)", bun.Ident(table), arg, many).Scan(ctx, &n)
	if err != nil {
		return false, fmt.Errorf("count rows of %s: %w", table, err)
	}
	return n == many, nil
}

// readPage reads the rows of a page. Beyond a cursor there may be two stretches of the list, that of the rows which have what
// it is ordered by and that of the others; an index leads to the beginning of either, but not of both at once.
func readPage[R any](ctx context.Context, s store, w where, p Page, of orders) (rows []*R, err error) {
	stretches, err := p.stretches(of)
	if err != nil || p.Limit == CountOnly {
		return nil, err
	}
	limit := cmp.Or(p.Limit, DefaultLimit)
	for _, stretch := range stretches {
		var more []*R
		if err := stretch(w.apply(s.db.Conn(ctx).NewSelect().Model(&more))).Limit(int64(limit - len(rows))).Scan(ctx); err != nil {
			return nil, fmt.Errorf("list %ss: %w", of.list, err)
		}
		if rows = append(rows, more...); len(rows) == limit {
			break
		}
	}
	return rows, nil
}

func (s store) countUsers(ctx context.Context, f Filter) (int, error) {
	w, err := f.where(s.db.Dialect())
	if err != nil {
		return 0, err
	}
	n, err := w.apply(s.db.Conn(ctx).NewSelect().Model((*userRow)(nil))).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count users: %w", err)
	}
	return int(n), nil
}

// missingIndexes are the statements by which the indexes come to be that the migration may not have been allowed to make.
func (s store) missingIndexes(ctx context.Context) (statements []string, err error) {
	if s.db.Dialect() != database.Postgres {
		return nil, ctx.Err()
	}
	var found struct{ Home, Ours, Users, Invites string }
	err = s.db.Conn(ctx).NewRaw(`SELECT
		coalesce((SELECT quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'), '') AS home,
		quote_ident(current_schema()) AS ours,
		coalesce((SELECT 'valid' FROM pg_index WHERE indexrelid = to_regclass('latchkey_user_trigram') AND indisvalid), '') AS users,
		coalesce((SELECT 'valid' FROM pg_index WHERE indexrelid = to_regclass('latchkey_invite_trigram') AND indisvalid), '') AS invites`).Scan(ctx, &found)
	if err != nil {
		return nil, fmt.Errorf("look for the indexes of searching: %w", err)
	}
	if found.Users == "" {
		statements = append(statements, "CREATE INDEX CONCURRENTLY latchkey_user_trigram ON %[2]s.latchkey_user USING gin (search %[1]s.gin_trgm_ops)")
	}
	if found.Invites == "" {
		statements = append(statements, "CREATE INDEX CONCURRENTLY latchkey_invite_trigram ON %[2]s.latchkey_invite USING gin (email %[1]s.gin_trgm_ops)")
	}
	for i, statement := range statements {
		statements[i] = fmt.Sprintf(statement, cmp.Or(found.Home, "public"), found.Ours)
	}
	if found.Home == "" && statements != nil {
		statements = slices.Insert(statements, 0, "CREATE EXTENSION pg_trgm SCHEMA public")
	}
	return statements, nil
}

func (s store) withRoles(ctx context.Context, rows []*userRow) ([]User, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	of := make(map[ID][]string, len(rows))
	for chunk := range slices.Chunk(rows, chunkSize) {
		var roles []roleRow
		err := s.db.Conn(ctx).NewSelect().Model(&roles).Where("user_id IN (?)", bun.List(ids(chunk))).Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("read roles: %w", err)
		}
		for _, r := range roles {
			of[r.UserID] = append(of[r.UserID], r.Role)
		}
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
	q := s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Where("id = ?", u.ID).Where("email = ?", u.Email).Where("deleted_at IS NULL")
	if u.EmailVerified() {
		q = q.Set("updated_at = updated_at").Where("email_verified_at IS NOT NULL") // changes nothing, and holds the row
	} else {
		q = q.Set("updated_at = ?", now).Set("email_verified_at = ?", now).Where("email_verified_at IS NULL")
	}
	if u.Active() {
		q = q.Where("deactivated_at IS NULL")
	} else {
		q = q.Where("deactivated_at IS NOT NULL")
	}
	return database.Touched(q.Exec(ctx))
}

// lockUsers reads those of the users who are in the state for change, by id, which is the order everybody locks in.
func (s store) lockUsers(ctx context.Context, ids []ID, which state) (rows []*userRow, err error) {
	for chunk := range slices.Chunk(sorted(ids), chunkSize) {
		var part []*userRow
		q := s.db.Conn(ctx).NewSelect().Model(&part).Where("id IN (?)", database.List(chunk...)).Where(string(which)).Order("id")
		if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
			return nil, fmt.Errorf("lock users: %w", err)
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

// sorted are the ids in order, each once.
func sorted[T ~string](ids []T) []T { return slices.Compact(slices.Sorted(slices.Values(ids))) }

// takenIDs says which of the ids users have, deleted ones too.
func (s store) takenIDs(ctx context.Context, ids []ID) (taken map[ID]bool, err error) {
	var found []ID
	for chunk := range slices.Chunk(ids, chunkSize) {
		var part []ID
		if err := s.db.Conn(ctx).NewSelect().Model((*userRow)(nil)).Column("id").Where("id IN (?)", database.List(chunk...)).Scan(ctx, &part); err != nil {
			return nil, fmt.Errorf("look for ids: %w", err)
		}
		found = append(found, part...)
	}
	return setOf(found), nil
}

func (s store) updateUsers(ctx context.Context, rows []*userRow) error {
	if err := updateRows(ctx, s.db.Conn(ctx), rows, "first_name", "last_name", "avatar_url", "metadata", "search", "updated_at"); err != nil {
		return fmt.Errorf("update users: %w", err)
	}
	return nil
}

// updateRows writes the columns of the rows that have their ids, many with each statement.
func updateRows[R any](ctx context.Context, conn bun.IDB, rows []*R, columns ...string) error {
	for chunk := range slices.Chunk(rows, chunkSize) {
		q := conn.NewUpdate().Model((*R)(nil)).
			With("now", conn.NewValues(&chunk).Column(append([]string{"id"}, columns...)...)).TableExpr("now")
		for _, c := range columns {
			q = q.Set("? = now.?", bun.Ident(c), bun.Ident(c))
		}
		if _, err := q.Where("?TableAlias.id = now.id").Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s store) verifyEmail(ctx context.Context, id ID, address string) (changed bool, err error) {
	now := database.Now()
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Set("email_verified_at = ?", now).Set("updated_at = ?", now).
		Where("id = ?", id).Where("email = ?", address).Where("email_verified_at IS NULL").Where("deleted_at IS NULL").Exec(ctx))
}

// updateEmail writes the row's address and that it is proved.
func (s store) updateEmail(ctx context.Context, r *userRow) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model(r).Column("email", "email_verified_at", "search", "updated_at").WherePK().Exec(ctx)
	if err != nil {
		return fmt.Errorf("update e-mail: %w", err)
	}
	return nil
}

// grantedToAddress reports whether the user has a role beyond member that was granted to their address by somebody who
// may: that is, in another way than with a first sign-in or by the set-up link.
func (s store) grantedToAddress(ctx context.Context, id ID) (bool, error) {
	ok, err := s.db.Conn(ctx).NewSelect().Model((*roleRow)(nil)).Where("user_id = ?", id).Where("role <> ?", RoleMember).
		Where("granted_via NOT IN (?)", bun.List(viaNobody)).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for granted roles: %w", err)
	}
	return ok, nil
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

// restoreUsers undoes soft deletions of those whose address nobody has, and says which these were.
func (s store) restoreUsers(ctx context.Context, rows []*userRow) (restored map[ID]bool, err error) {
	free, err := s.takeEmails(ctx, addresses(rows)...)
	if err != nil {
		return nil, err
	}
	restored = make(map[ID]bool, len(rows))
	for _, r := range rows {
		if restored[r.ID] = r.Email == "" || free[r.Email]; restored[r.ID] {
			free[r.Email] = false // of two of one address the first has it
		}
	}
	back := slices.DeleteFunc(ids(rows), func(id ID) bool { return !restored[id] })
	for chunk := range slices.Chunk(back, chunkSize) {
		_, err := s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
			Set("deleted_at = NULL").Set("updated_at = ?", database.Now()).Where("id IN (?)", bun.List(chunk)).Exec(ctx)
		if err != nil {
			return nil, fmt.Errorf("restore users: %w", err)
		}
	}
	return restored, nil
}

// takeEmails says which of the addresses nobody has, and keeps those from others until the transaction ends. It does by rows
// that come and go, because INSERT knows ON CONFLICT and UPDATE does not.
func (s store) takeEmails(ctx context.Context, addresses ...string) (free map[string]bool, err error) {
	now := database.Now()
	var rows []*userRow
	for _, address := range addresses {
		if address != "" {
			rows = append(rows, &userRow{ID: NewID(), Email: address, CreatedVia: ViaAPI, CreatedAt: now, UpdatedAt: now})
		}
	}
	made, err := s.insertUsers(ctx, rows)
	if err != nil {
		return nil, err
	}
	free = make(map[string]bool, len(rows))
	for _, r := range rows {
		free[r.Email] = free[r.Email] || made[r.ID]
	}
	return free, s.deleteUsers(ctx, slices.Collect(maps.Keys(made)))
}

// takeID says whether nobody has the id, and keeps it from others until the transaction ends, as takeEmails does addresses.
func (s store) takeID(ctx context.Context, id ID) (free bool, err error) {
	now := database.Now()
	r := &userRow{ID: id, CreatedVia: ViaAPI, CreatedAt: now, UpdatedAt: now}
	free, err = database.Touched(s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (id) DO NOTHING").Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("take the id of a user: %w", err)
	}
	if free {
		err = s.deleteUsers(ctx, []ID{id})
	}
	return free, err
}

// setDeactivated sets or, for the zero time, clears deactivated_at.
func (s store) setDeactivated(ctx context.Context, ids []ID, at time.Time) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*userRow)(nil)).
		Set("deactivated_at = ?", bun.NullZero(at)).Set("updated_at = ?", database.Now()).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("set deactivated: %w", err)
	}
	return nil
}

// admins are those of the users who have the role admin, active or not.
func (s store) admins(ctx context.Context, of []ID) (ids []ID, err error) {
	for chunk := range slices.Chunk(of, chunkSize) {
		var some []ID
		err := s.db.Conn(ctx).NewSelect().Model((*roleRow)(nil)).Column("user_id").
			Where("role = ?", RoleAdmin).Where("user_id IN (?)", bun.List(chunk)).Scan(ctx, &some)
		if err != nil {
			return nil, fmt.Errorf("read admins: %w", err)
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

// lockCountOfAdmins waits for others who are about to leave fewer admins, and has whoever comes later wait, until the transaction ends: of
// two who count at the same time neither would see what the other has done. On SQLite a transaction is the only one already. The lock goes by the
// table itself: an application that joins may find it by another search path than we do.
func (s store) lockCountOfAdmins(ctx context.Context) error {
	if s.db.Dialect() != database.Postgres {
		return nil
	}
	_, err := s.db.Conn(ctx).ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('latchkey_user_role'::regclass::oid || '/latchkey/admins', 0))")
	if err != nil {
		return fmt.Errorf("lock the count of admins: %w", err)
	}
	return nil
}

// isSetupAdmin reports whether the user has the role admin by the set-up link.
func (s store) isSetupAdmin(ctx context.Context, id ID) (bool, error) {
	ok, err := s.db.Conn(ctx).NewSelect().Model((*roleRow)(nil)).
		Where("user_id = ?", id).Where("role = ?", RoleAdmin).Where("granted_via = ?", ViaSetup).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for the admin of the set-up link: %w", err)
	}
	return ok, nil
}

// adminExists reports whether somebody other than the user can act as an admin.
func (s store) adminExists(ctx context.Context, except ID) (bool, error) {
	ok, err := s.db.Conn(ctx).NewSelect().Model((*roleRow)(nil)).
		Where("role = ?", RoleAdmin).Where("user_id <> ?", except).
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
	for chunk := range slices.Chunk(inOrder(rows, (*inviteRow).address), chunkSize) {
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

// lockExpired reads the open invites for the addresses that had expired at the time, for change, by id.
func (s store) lockExpired(ctx context.Context, addresses []string, at time.Time) (rows []*inviteRow, err error) {
	for chunk := range slices.Chunk(sorted(addresses), chunkSize) {
		var part []*inviteRow
		q := s.db.Conn(ctx).NewSelect().Model(&part).Where("email IN (?)", bun.List(chunk)).
			Where("NOT accepted").Where("deleted_at IS NULL").Where("expires_at <= ?", at).Order("id")
		if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
			return nil, fmt.Errorf("lock expired invites: %w", err)
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

// provedEmails says which of the addresses users have proved to be theirs.
func (s store) provedEmails(ctx context.Context, addresses []string) (proved map[string]bool, err error) {
	var found []string
	for chunk := range slices.Chunk(addresses, chunkSize) {
		var part []string
		err := s.db.Conn(ctx).NewSelect().Model((*userRow)(nil)).Column("email").Where("email IN (?)", bun.List(chunk)).
			Where("email_verified_at IS NOT NULL").Where("deleted_at IS NULL").Scan(ctx, &part)
		if err != nil {
			return nil, fmt.Errorf("look for proved addresses: %w", err)
		}
		found = append(found, part...)
	}
	return setOf(found), nil
}

// invitesByID returns those of the invites that are there, in the order of the ids.
func (s store) invitesByID(ctx context.Context, ids []InviteID) ([]Invite, error) {
	found := make(map[InviteID]Invite, len(ids))
	for chunk := range slices.Chunk(ids, chunkSize) {
		var rows []*inviteRow
		err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id IN (?)", database.List(chunk...)).Where("deleted_at IS NULL").Scan(ctx)
		if err != nil {
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
	q := pending(s.db.Conn(ctx).NewSelect().Model(&rows)).Where("email = ?", address)
	if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
		return Invite{}, fmt.Errorf("hold open invite: %w", err)
	}
	if len(rows) == 0 {
		return Invite{}, ErrInviteNotFound
	}
	return rows[0].invite(), nil
}

func (s store) listInvites(ctx context.Context, f InviteFilter, p Page) ([]Invite, error) {
	w, err := f.where(s.db.Dialect())
	if err != nil {
		return nil, err
	}
	rows, err := readPage[inviteRow](ctx, s, w, p, inviteOrders)
	if err != nil {
		return nil, err
	}
	invites := make([]Invite, len(rows))
	for i, r := range rows {
		invites[i] = r.invite()
	}
	return invites, nil
}

func (s store) countInvites(ctx context.Context, f InviteFilter) (int, error) {
	w, err := f.where(s.db.Dialect())
	if err != nil {
		return 0, err
	}
	n, err := w.apply(s.db.Conn(ctx).NewSelect().Model((*inviteRow)(nil))).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count invites: %w", err)
	}
	return int(n), nil
}

// pending narrows q to the invites that can be accepted, in words that the index on expires_at has.
func pending(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Where("NOT accepted").Where("deleted_at IS NULL").Where("expires_at > ?", database.Now())
}

// countPending returns how many invites can be accepted, the set-up link not among them.
func (s store) countPending(ctx context.Context) (int, error) {
	n, err := pending(s.db.Conn(ctx).NewSelect().Model((*inviteRow)(nil))).Where("email IS NOT NULL").Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count pending invites: %w", err)
	}
	return int(n), nil
}

// invited are those of the addresses that have an invite which can be accepted.
func (s store) invited(ctx context.Context, emails []string) (open map[string]bool, err error) {
	open = map[string]bool{}
	for chunk := range slices.Chunk(emails, chunkSize) {
		var found []string
		err := pending(s.db.Conn(ctx).NewSelect().Model((*inviteRow)(nil)).Column("email")).Where("email IN (?)", bun.List(chunk)).Scan(ctx, &found)
		if err != nil {
			return nil, fmt.Errorf("look for open invites: %w", err)
		}
		for _, address := range found {
			open[address] = true
		}
	}
	return open, nil
}

// acceptInvite closes the invite if it is still the one the token was made from, and reports whether it was.
func (s store) acceptInvite(ctx context.Context, i Invite, by ID) (bool, error) {
	now := database.Now()
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
		Set("accepted = TRUE").Set("accepted_at = ?", now).Set("accepted_by = ?", by).Set("updated_at = ?", now).
		Where("id = ?", i.ID).Where("nonce = ?", i.nonce).Where("NOT accepted").Where("deleted_at IS NULL").Where("expires_at > ?", now).Exec(ctx))
}

// lockInvites reads those of the invites that are in the state for change, by id, which is the order everybody locks in.
func (s store) lockInvites(ctx context.Context, ids []InviteID, which state) (rows []*inviteRow, err error) {
	for chunk := range slices.Chunk(sorted(ids), chunkSize) {
		var part []*inviteRow
		q := s.db.Conn(ctx).NewSelect().Model(&part).Where("id IN (?)", database.List(chunk...)).Where(string(which)).Order("id")
		if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
			return nil, fmt.Errorf("lock invites: %w", err)
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

func (s store) updateInvites(ctx context.Context, rows []*inviteRow) error {
	err := updateRows(ctx, s.db.Conn(ctx), rows, "accepted", "accepted_at", "nonce", "issued_at", "expires_at", "ttl", "message", "roles", "metadata", "updated_at")
	if err != nil {
		return fmt.Errorf("update invites: %w", err)
	}
	return nil
}

func (s store) deleteInvites(ctx context.Context, ids []InviteID) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*inviteRow)(nil)).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete invites: %w", err)
	}
	return nil
}

func (s store) softDeleteInvites(ctx context.Context, ids []InviteID) error {
	now := database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
		Set("deleted_at = ?", now).Set("updated_at = ?", now).Where("id IN (?)", bun.List(ids)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("soft-delete invites: %w", err)
	}
	return nil
}

// restoreInvites undoes soft deletions of those whose address has no other open invite, and says which these were.
func (s store) restoreInvites(ctx context.Context, rows []*inviteRow) (restored map[InviteID]bool, err error) {
	restored = make(map[InviteID]bool, len(rows))
	var open []*inviteRow // those that want their address for themselves
	for _, r := range rows {
		if restored[r.ID] = r.Accepted; !r.Accepted {
			open = append(open, r)
		}
	}
	// As takeEmails does.
	taken := make([]*inviteRow, len(open))
	for i, r := range open {
		like := *r
		like.ID, like.DeletedAt = InviteID(id.New("invite")), time.Time{}
		taken[i] = &like
	}
	made, err := s.insertInvites(ctx, taken)
	if err != nil {
		return nil, err
	}
	if err := s.deleteInvites(ctx, slices.Collect(maps.Keys(made))); err != nil {
		return nil, err
	}
	for i, r := range open {
		restored[r.ID] = made[taken[i].ID]
	}
	var back []InviteID
	for _, r := range rows {
		if restored[r.ID] {
			back = append(back, r.ID)
		}
	}
	for chunk := range slices.Chunk(back, chunkSize) {
		_, err := s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).
			Set("deleted_at = NULL").Set("updated_at = ?", database.Now()).Where("id IN (?)", bun.List(chunk)).Exec(ctx)
		if err != nil {
			return nil, fmt.Errorf("restore invites: %w", err)
		}
	}
	return restored, nil
}

// putSetup makes r the open set-up link, in place of the one that is open, whose id it gets then.
func (s store) putSetup(ctx context.Context, r *inviteRow) error {
	err := s.db.Conn(ctx).NewInsert().Model(r).
		On("CONFLICT (accepted) WHERE email IS NULL AND deleted_at IS NULL AND NOT accepted DO UPDATE").
		Set("nonce = EXCLUDED.nonce").Set("issued_at = EXCLUDED.issued_at").Set("expires_at = EXCLUDED.expires_at").
		Set("roles = EXCLUDED.roles").Set("updated_at = EXCLUDED.updated_at").
		Returning("*").Scan(ctx)
	if err != nil {
		return fmt.Errorf("put set-up invite: %w", err)
	}
	return nil
}

func (s store) withdrawSetup(ctx context.Context) error {
	now := database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model((*inviteRow)(nil)).Set("deleted_at = ?", now).Set("updated_at = ?", now).
		Where("email IS NULL").Where("NOT accepted").Where("deleted_at IS NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("withdraw set-up invite: %w", err)
	}
	return nil
}

func inviteEmails(rows []*inviteRow) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.Email
	}
	return out
}

func inviteIDs(rows []*inviteRow) []InviteID {
	out := make([]InviteID, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}
