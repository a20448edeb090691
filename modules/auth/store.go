package auth

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// store is all SQL of this module.
type store struct{ db *database.DB }

type identityRow struct {
	bun.BaseModel `bun:"table:latchkey_auth_identity,alias:a"`

	ID          IdentityID `bun:",pk"`
	AppMetadata database.Object
	Ver         int64
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

type providerRow struct {
	bun.BaseModel `bun:"table:latchkey_provider_identity,alias:p"`

	ID               string `bun:",pk"`
	AuthIdentityID   IdentityID
	Provider         string
	EntityID         string
	Email            string    `bun:",nullzero"`
	EmailVerifiedAt  time.Time `bun:",nullzero"`
	UserMetadata     database.Object
	ProviderMetadata database.Object
	Secret           []byte
	CreatedAt        time.Time
	UpdatedAt        time.Time

	Ver int64 `bun:",scanonly"` // of the identity

	claimed []string // columns that claim has changed
}

type sessionRow struct {
	bun.BaseModel `bun:"table:latchkey_auth_session,alias:s"`

	ID              SessionID `bun:",pk"`
	AuthIdentityID  IdentityID
	ActorType       string
	Provider        string
	SecretHash      string `bun:",nullzero"`
	Ver             int64
	UserAgent       string
	IP              string
	AuthenticatedAt time.Time
	FactorAt        time.Time `bun:",nullzero"`
	CreatedAt       time.Time
	LastUsedAt      time.Time
	ExpiresAt       time.Time
}

type flowRow struct {
	bun.BaseModel `bun:"table:latchkey_auth_flow,alias:f"`

	IDHash    string `bun:",pk"`
	Provider  string
	State     []byte // sealed: Service.stateOf
	ExpiresAt time.Time

	ActorType   string
	BrowserHash string
	Portable    bool
	CallbackURL string
	ReturnTo    string
	SessionID   SessionID
	SessionVer  int64

	Tries int // with the one under way
}

func (r identityRow) identity(providers []ProviderIdentity) Identity {
	return Identity{
		ID: r.ID, AppMetadata: r.AppMetadata, Providers: providers,
		CreatedAt: database.UTC(r.CreatedAt), UpdatedAt: database.UTC(r.UpdatedAt), ver: r.Ver,
	}
}

func (r providerRow) providerIdentity() ProviderIdentity {
	return ProviderIdentity{
		ID: r.ID, IdentityID: r.AuthIdentityID, Provider: r.Provider, EntityID: r.EntityID,
		Email: r.Email, EmailVerifiedAt: database.UTC(r.EmailVerifiedAt), UserMetadata: r.UserMetadata, ProviderMetadata: r.ProviderMetadata,
		CreatedAt: database.UTC(r.CreatedAt), UpdatedAt: database.UTC(r.UpdatedAt),
	}
}

func (r sessionRow) session() Session {
	return Session{
		ID: r.ID, IdentityID: r.AuthIdentityID, ActorType: r.ActorType, Provider: r.Provider, UserAgent: r.UserAgent, IP: r.IP,
		AuthenticatedAt: database.UTC(r.AuthenticatedAt), FactorAt: database.UTC(r.FactorAt),
		CreatedAt: database.UTC(r.CreatedAt), LastUsedAt: database.UTC(r.LastUsedAt), ExpiresAt: database.UTC(r.ExpiresAt), ver: r.Ver,
	}
}

// snapshot reads what a proof about the entity rests on.
func (s store) snapshot(ctx context.Context, provider, entityID string) (snapshot, error) {
	if !database.Storable(entityID, maxText) {
		return snapshot{}, nil // nothing of the kind can have been kept
	}
	rows, err := s.providerRows(ctx, s.withVer(ctx).Where("p.provider = ?", provider).Where("p.entity_id = ?", entityID))
	if err != nil || len(rows) == 0 {
		return snapshot{}, err
	}
	found := snapshot{identity: rows[0].AuthIdentityID, ver: rows[0].Ver, secret: rows[0].Secret, email: rows[0].Email, made: rows[0].CreatedAt}
	if !rows[0].EmailVerifiedAt.IsZero() {
		found.provedEmail = rows[0].Email
	}
	return found, nil
}

// lockProviderIdentity reads the row for the rest of the transaction, in which its identity cannot be deleted; nil if
// there is none. Only the identity is locked: a deletion comes by it to the rest, and by another order would be in the way.
// Who will move its ver says so by the lock, for the same reason: NO KEY UPDATE, KEY SHARE otherwise.
func (s store) lockProviderIdentity(ctx context.Context, provider, entityID, lock string) (*providerRow, error) {
	for {
		q := s.withVer(ctx).Where("p.provider = ?", provider).Where("p.entity_id = ?", entityID)
		rows, err := s.providerRows(ctx, s.db.ForUpdate(q, lock+" OF a"))
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			return &rows[0], nil
		}
		// The wait for an identity that is deleted ends with nothing, also if this row was moved to another one before.
		if now, err := s.snapshot(ctx, provider, entityID); err != nil || now.identity == "" {
			return nil, err
		}
	}
}

func (s store) withVer(ctx context.Context) *bun.SelectQuery {
	return s.db.Conn(ctx).NewSelect().Model((*providerRow)(nil)).ColumnExpr("p.*, a.ver").
		Join("JOIN latchkey_auth_identity a ON a.id = p.auth_identity_id")
}

func (s store) providerRows(ctx context.Context, q *bun.SelectQuery) ([]providerRow, error) {
	var rows []providerRow
	if err := q.Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("read provider identities: %w", err)
	}
	return rows, nil
}

// insertIdentity inserts the provider identity with an auth identity of its own, unless the provider has the entity already.
func (s store) insertIdentity(ctx context.Context, r *providerRow) (bool, error) {
	inserted, err := database.Touched(s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (provider, entity_id) DO NOTHING").Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("insert provider identity: %w", err)
	}
	if !inserted {
		return false, nil
	}
	r.Ver = 1
	_, err = s.db.Conn(ctx).NewInsert().
		Model(&identityRow{ID: r.AuthIdentityID, Ver: r.Ver, CreatedAt: r.CreatedAt, UpdatedAt: r.CreatedAt}).Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("insert auth identity: %w", err)
	}
	return true, nil
}

// replaceSecret writes the secret if the stored one is still the one before, and reports whether it was.
func (s store) replaceSecret(ctx context.Context, id string, before, secret []byte) (bool, error) {
	ok, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model((*providerRow)(nil)).
		Set("secret = ?", secret).Set("updated_at = ?", database.Now()).
		Where("id = ?", id).Where("secret IS NOT DISTINCT FROM ?", before).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("replace secret: %w", err)
	}
	return ok, nil
}

// updateClaims writes what claim took over, and nothing else: the rest may have changed since the row was read.
func (s store) updateClaims(ctx context.Context, r *providerRow) error {
	r.UpdatedAt = database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model(r).Column(append(r.claimed, "updated_at")...).WherePK().Exec(ctx)
	if err != nil {
		return fmt.Errorf("update claims: %w", err)
	}
	return nil
}

func (s store) verifyEmail(ctx context.Context, id IdentityID, address string) error {
	now := database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model((*providerRow)(nil)).
		Set("email_verified_at = ?", now).Set("updated_at = ?", now).
		Where("id IN (?)", s.waysInOrder(ctx, id, "NO KEY UPDATE").Where("w.email = ?", address).Where("w.email_verified_at IS NULL")).Exec(ctx)
	if err != nil {
		return fmt.Errorf("verify e-mail: %w", err)
	}
	return nil
}

// waysInOrder is a query for the ids of provider identities of an identity that locks them in the order everybody locks in.
func (s store) waysInOrder(ctx context.Context, of IdentityID, lock string) *bun.SelectQuery {
	q := s.db.Conn(ctx).NewSelect().TableExpr("latchkey_provider_identity AS w").Column("w.id").Where("w.auth_identity_id = ?", of).Order("w.id")
	return s.db.ForUpdate(q, lock)
}

func (s store) moveProviderIdentities(ctx context.Context, from, to IdentityID) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*providerRow)(nil)).
		Set("auth_identity_id = ?", to).Set("updated_at = ?", database.Now()).Where("id IN (?)", s.waysInOrder(ctx, from, "NO KEY UPDATE")).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move provider identities: %w", err)
	}
	return nil
}

// giveWayTo moves one provider identity, if it is still whose it was, and reports whether it was.
func (s store) giveWayTo(ctx context.Context, id string, from, to IdentityID) (bool, error) {
	moved, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model((*providerRow)(nil)).
		Set("auth_identity_id = ?", to).Set("updated_at = ?", database.Now()).Where("id = ?", id).Where("auth_identity_id = ?", from).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("move provider identity: %w", err)
	}
	return moved, nil
}

func (s store) providerIdentities(ctx context.Context, f ProviderIdentityFilter) ([]ProviderIdentity, error) {
	return s.publicProviderIdentities(ctx, f.apply(s.publicRows(ctx)).Order("p.id"))
}

// publicRows is a query for provider identities without what no public read returns.
func (s store) publicRows(ctx context.Context) *bun.SelectQuery {
	return s.db.Conn(ctx).NewSelect().Model((*providerRow)(nil)).ExcludeColumn("secret")
}

func (s store) publicProviderIdentities(ctx context.Context, q *bun.SelectQuery) ([]ProviderIdentity, error) {
	rows, err := s.providerRows(ctx, q)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	out := make([]ProviderIdentity, len(rows))
	for i, r := range rows {
		out[i] = r.providerIdentity()
	}
	return out, nil
}

// deleteIdentities takes provider identities and sessions along by their foreign keys, which go by no order: so these are locked
// before.
func (s store) deleteIdentities(ctx context.Context, ids []IdentityID) error {
	for chunk := range slices.Chunk(ids, chunkSize) {
		for _, model := range []any{(*providerRow)(nil), (*sessionRow)(nil)} {
			var held []string
			q := s.db.Conn(ctx).NewSelect().Model(model).Column("id").Where("auth_identity_id IN (?)", database.List(chunk...)).Order("id")
			if err := s.db.ForUpdate(q, "UPDATE").Scan(ctx, &held); err != nil {
				return fmt.Errorf("lock what auth identities have: %w", err)
			}
		}
		if _, err := s.db.Conn(ctx).NewDelete().Model((*identityRow)(nil)).Where("id IN (?)", database.List(chunk...)).Exec(ctx); err != nil {
			return fmt.Errorf("delete auth identities: %w", err)
		}
	}
	return nil
}

// bumpVer moves the identity's credential version on.
func (s store) bumpVer(ctx context.Context, id IdentityID) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*identityRow)(nil)).
		Set("ver = ver + 1").Set("updated_at = ?", database.Now()).Where("id = ?", id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move ver: %w", err)
	}
	return nil
}

func (s store) insertSession(ctx context.Context, r *sessionRow) error {
	if _, err := s.db.Conn(ctx).NewInsert().Model(r).Exec(ctx); err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	return nil
}

// liveSession returns the session if its identity's ver is still the one it was opened under.
func (s store) liveSession(ctx context.Context, column, value string) (*sessionRow, error) {
	var rows []sessionRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).ColumnExpr("s.*").
		Join("JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id AND a.ver = s.ver").
		Where("s.? = ?", bun.Ident(column), value).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read session: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// holdSession reports whether the session lives as of that ver, and keeps its identity from being deleted until the
// transaction ends.
func (s store) holdSession(ctx context.Context, id SessionID, ver int64) (bool, error) {
	var found []SessionID
	q := s.db.Conn(ctx).NewSelect().Model((*sessionRow)(nil)).ColumnExpr("s.id").
		Join("JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id AND a.ver = s.ver").
		Where("s.id = ?", id).Where("s.ver = ?", ver).Where("s.expires_at > ?", database.Now())
	if err := s.db.ForUpdate(q, "KEY SHARE OF a").Scan(ctx, &found); err != nil {
		return false, fmt.Errorf("hold session: %w", err)
	}
	return len(found) > 0, nil
}

func (s store) setSessionSecret(ctx context.Context, id SessionID, ver int64, hash string) (bool, error) {
	ok, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model((*sessionRow)(nil)).
		Set("secret_hash = ?", hash).Set("last_used_at = ?", database.Now()).Where("id = ?", id).Where("ver = ?", ver).
		Where("ver = (SELECT a.ver FROM latchkey_auth_identity a WHERE a.id = auth_identity_id)").Where("expires_at > ?", database.Now()).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("set session secret: %w", err)
	}
	return ok, nil
}

// touchSession notes when the session was used last, unless another request has by now. If that is before idle, its cookie
// is no more.
func (s store) touchSession(ctx context.Context, id SessionID, before, now, idle time.Time) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*sessionRow)(nil)).Set("last_used_at = ?", now).
		Set("secret_hash = CASE WHEN last_used_at < ? THEN NULL ELSE secret_hash END", idle).
		Where("id = ?", id).Where("last_used_at <= ?", before).Exec(ctx)
	if err != nil {
		return fmt.Errorf("touch session: %w", err)
	}
	return nil
}

// sessionsInOrder is a query for the ids of the identities' sessions that locks them in the order everybody locks in: who ends
// several need not have locked the identity.
func (s store) sessionsInOrder(ctx context.Context, of ...IdentityID) *bun.SelectQuery {
	q := s.db.Conn(ctx).NewSelect().TableExpr("latchkey_auth_session AS o").Column("o.id").
		Where("o.auth_identity_id IN (?)", database.List(of...)).Order("o.id")
	return s.db.ForUpdate(q, "UPDATE")
}

func (s store) lockSessions(ctx context.Context, of IdentityID) error {
	var held []SessionID
	if err := s.sessionsInOrder(ctx, of).Scan(ctx, &held); err != nil {
		return fmt.Errorf("lock sessions: %w", err)
	}
	return nil
}

// deleteSessions removes the sessions of an identity, of one actor type or of all if it is empty, but for one, and says how
// many these were.
func (s store) deleteSessions(ctx context.Context, id IdentityID, actorType string, but SessionID) (int, error) {
	q := s.sessionsInOrder(ctx, id).Where("o.id <> ?", but)
	if actorType != "" {
		q = q.Where("o.actor_type = ?", actorType)
	}
	deleted, err := database.Affected(s.db.Conn(ctx).NewDelete().Model((*sessionRow)(nil)).Where("id IN (?)", q).Exec(ctx))
	if err != nil {
		return 0, fmt.Errorf("delete sessions: %w", err)
	}
	return deleted, nil
}

// deleteOldestSessions removes the identity's sessions beside r but for the newest, of which so many stay, and those that
// have expired. It says which of the removed ones lived.
func (s store) deleteOldestSessions(ctx context.Context, r *sessionRow, stay int) (living []SessionID, err error) {
	q := s.sessionsInOrder(ctx, r.AuthIdentityID).Where("o.id <> ?", r.ID)
	if stay > 0 {
		q = q.Where("o.id NOT IN (?)", s.db.Conn(ctx).NewSelect().TableExpr("latchkey_auth_session AS n").Column("n.id").
			Where("n.auth_identity_id = ?", r.AuthIdentityID).Where("n.id <> ?", r.ID).Where("n.ver = ?", r.Ver).
			Where("n.expires_at > ?", r.CreatedAt).Order("n.created_at DESC", "n.id DESC").Limit(int64(stay)))
	}
	var deleted []sessionRow
	err = s.db.Conn(ctx).NewDelete().Model((*sessionRow)(nil)).Where("id IN (?)", q).Returning("id, ver, expires_at").Scan(ctx, &deleted)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("delete the oldest sessions: %w", err)
	}
	for _, d := range deleted {
		if d.Ver == r.Ver && d.ExpiresAt.After(r.CreatedAt) {
			living = append(living, d.ID)
		}
	}
	return living, nil
}

// livingSessions is a query for the identity's sessions that have neither expired nor died with its credentials.
func (s store) livingSessions(ctx context.Context, of IdentityID) *bun.SelectQuery {
	q := s.db.Conn(ctx).NewSelect().Model((*sessionRow)(nil))
	if strings.ContainsRune(string(of), 0) { // which cannot even be written into a statement
		return q.Where("1 = 0")
	}
	return q.Where("auth_identity_id = ?", of).Where("expires_at > ?", database.Now()).
		Where("ver = (SELECT a.ver FROM latchkey_auth_identity a WHERE a.id = ?)", of)
}

func (s store) listSessions(ctx context.Context, of IdentityID, p Page) ([]Session, error) {
	p.Order = cmp.Or(p.Order, "-created_at")
	if err := p.check(sessionOrders); err != nil || p.Limit == CountOnly {
		return nil, err
	}
	var rows []sessionRow
	if err := p.apply(s.livingSessions(ctx, of)).Scan(ctx, &rows); err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	sessions := make([]Session, len(rows))
	for i, r := range rows {
		sessions[i] = r.session()
	}
	return sessions, nil
}

func (s store) countSessions(ctx context.Context, of IdentityID) (int, error) {
	n, err := s.livingSessions(ctx, of).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count sessions: %w", err)
	}
	return int(n), nil
}

// deleteSessionOf removes the session if it is the identity's.
func (s store) deleteSessionOf(ctx context.Context, of IdentityID, id SessionID) (bool, error) {
	ok, err := database.Touched(s.db.Conn(ctx).NewDelete().Model((*sessionRow)(nil)).Where("id = ?", id).Where("auth_identity_id = ?", of).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return ok, nil
}

// identitiesWithSessions are the first identities behind one that have any session, by id.
func (s store) identitiesWithSessions(ctx context.Context, behind IdentityID) (ids []IdentityID, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*sessionRow)(nil)).Distinct().Column("auth_identity_id").
		Where("auth_identity_id > ?", behind).Order("auth_identity_id").Limit(chunkSize).Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("look for sessions: %w", err)
	}
	return ids, nil
}

// bumpVers moves the credential version of the identities on, of which there are no more than one statement holds.
func (s store) bumpVers(ctx context.Context, ids []IdentityID) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*identityRow)(nil)).
		Set("ver = ver + 1").Set("updated_at = ?", database.Now()).Where("id IN (?)", database.List(ids...)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move ver: %w", err)
	}
	return nil
}

// deleteSessionsOfAll removes every session of the identities, of whom there are no more than one statement holds, and says
// how many each had.
func (s store) deleteSessionsOfAll(ctx context.Context, ids []IdentityID) (had map[IdentityID]int, err error) {
	var owners []IdentityID
	err = s.db.Conn(ctx).NewDelete().Model((*sessionRow)(nil)).Where("id IN (?)", s.sessionsInOrder(ctx, ids...)).
		Returning("auth_identity_id").Scan(ctx, &owners)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("delete sessions: %w", err)
	}
	had = make(map[IdentityID]int, len(ids))
	for _, id := range owners {
		had[id]++
	}
	return had, nil
}

// deleteSession removes a session and says whose it was.
func (s store) deleteSession(ctx context.Context, id SessionID) (identity IdentityID, found bool, err error) {
	var of []IdentityID
	err = s.db.Conn(ctx).NewDelete().Model((*sessionRow)(nil)).Where("id = ?", id).Returning("auth_identity_id").Scan(ctx, &of)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", false, fmt.Errorf("delete session: %w", err)
	}
	if len(of) == 0 {
		return "", false, nil
	}
	return of[0], true, nil
}

func (s store) insertFlow(ctx context.Context, r *flowRow) error {
	if _, err := s.db.Conn(ctx).NewInsert().Model(r).Exec(ctx); err != nil {
		return fmt.Errorf("insert flow: %w", err)
	}
	return nil
}

// flows are the provider's flows that have the value in the column, the newest first.
func (s store) flows(ctx context.Context, provider, column, value string) (rows []flowRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("? = ?", bun.Ident(column), value).Where("provider = ?", provider).
		Order("expires_at DESC").Limit(maxFlows).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("select flows: %w", err)
	}
	return rows, nil
}

// maxFlows is how many flows of one browser are looked at.
const maxFlows = 100

// beginFlowAgain keeps another state of the flow and reports whether it is there still.
func (s store) beginFlowAgain(ctx context.Context, r *flowRow) (bool, error) {
	result, err := s.db.Conn(ctx).NewUpdate().Model(r).Column("state", "expires_at").Set("tries = 0").WherePK().Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("begin flow again: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// keepFlow binds a flow that anybody may finish to a browser and reports whether it is there still.
func (s store) keepFlow(ctx context.Context, hash, browser string) (bool, error) {
	result, err := s.db.Conn(ctx).NewUpdate().Model((*flowRow)(nil)).Set("browser_hash = ?", browser).
		Where("id_hash = ?", hash).Where("portable").Exec(ctx)
	if err != nil {
		return false, fmt.Errorf("keep flow: %w", err)
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// tryFlow counts tries at the flow, as long as it is in the state in which it was read and there were less than so many, and
// returns it; nil: it is not.
func (s store) tryFlow(ctx context.Context, r *flowRow, add, most int) (*flowRow, error) {
	var rows []flowRow
	err := s.db.Conn(ctx).NewUpdate().Model((*flowRow)(nil)).Set("tries = tries + ?", add).
		Where("id_hash = ?", r.IDHash).Where("state = ?", r.State).Where("tries < ?", most).Returning("*").Scan(ctx, &rows)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("try flow: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// endFlow deletes the flow and reports whether it was there.
func (s store) endFlow(ctx context.Context, hash string) (ended bool, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		result, err := s.db.Conn(ctx).NewDelete().Model((*flowRow)(nil)).Where("id_hash = ?", hash).Exec(ctx)
		if err != nil {
			return fmt.Errorf("end flow: %w", err)
		}
		n, err := result.RowsAffected()
		ended = n > 0
		return err
	})
	return ended, err
}

// hasFlow reports whether there is a flow that takeFlow would take.
func (s store) hasFlow(ctx context.Context, hash, provider string, r Return) (bool, error) {
	there, err := s.db.Conn(ctx).NewSelect().Model((*flowRow)(nil)).ApplyQueryBuilder(ofReturn(hash, provider, r)).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for flow: %w", err)
	}
	return there, nil
}

// ofReturn is the condition that a flow is bound to who comes back.
func ofReturn(hash, provider string, r Return) func(bun.QueryBuilder) bun.QueryBuilder {
	sessions := []SessionID{""} // a flow that is bound to none
	for _, session := range r.Sessions {
		sessions = append(sessions, session.ID)
	}
	return func(q bun.QueryBuilder) bun.QueryBuilder {
		q = q.Where("id_hash = ?", hash).Where("provider = ?", provider).Where("actor_type = ?", r.ActorType).Where("session_id IN (?)", database.List(sessions...))
		if r.Browser != "" {
			return q.Where("browser_hash = ?", hashed(r.Browser))
		}
		return q.Where("portable")
	}
}

// takeFlow deletes the flow, if it is bound to who comes back, and returns it; nil if there is none. It is one statement, so
// that of several at once one has it. A flow of several tries it leaves, and counts the one that begins: of any number at once no more
// than so many have it.
func (s store) takeFlow(ctx context.Context, hash, provider string, tries int, r Return) (*flowRow, error) {
	var rows []flowRow
	var err error
	if tries > 1 {
		err = s.db.Conn(ctx).NewUpdate().Model((*flowRow)(nil)).Set("tries = tries + 1").ApplyQueryBuilder(ofReturn(hash, provider, r)).
			Where("tries < ?", tries).Returning("*").Scan(ctx, &rows)
	} else {
		err = s.db.Conn(ctx).NewDelete().Model((*flowRow)(nil)).ApplyQueryBuilder(ofReturn(hash, provider, r)).Returning("*").Scan(ctx, &rows)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("take flow: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// purge deletes at most so many rows that are dead, and passes over those that others are at. The rows are known by a
// unique column.
func (s store) purge(ctx context.Context, model any, key string, limit int, dead string, args ...any) (int, error) {
	var keys []string
	q := s.db.Conn(ctx).NewSelect().Model(model).Column(key).Where(dead, args...).Limit(int64(limit))
	if err := s.db.ForUpdate(q, "UPDATE SKIP LOCKED").Scan(ctx, &keys); err != nil {
		return 0, fmt.Errorf("look for what is dead: %w", err)
	}
	if len(keys) == 0 {
		return 0, nil
	}
	res, err := s.db.Conn(ctx).NewDelete().Model(model).Where("? IN (?)", bun.Ident(key), database.List(keys...)).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete what is dead: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// usedSince reports whether the identity was made or a session of it used since, or the application keeps something with it.
func (s store) usedSince(ctx context.Context, id IdentityID, since time.Time) (bool, error) {
	used, err := s.db.Conn(ctx).NewSelect().Model((*identityRow)(nil)).Where("id = ?", id).
		Where("created_at >= ? OR app_metadata IS NOT NULL OR EXISTS (SELECT 1 FROM latchkey_auth_session s WHERE s.auth_identity_id = a.id AND s.last_used_at >= ?)", since, since).
		Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for the last use of an identity: %w", err)
	}
	return used, nil
}

// maxText is how long an entity id may be, in bytes.
const maxText = 1024

// sameJSON compares as the database would: after a round trip through JSON.
func sameJSON(a, b map[string]any) bool {
	var again map[string]any
	data, err := json.Marshal(a)
	if err != nil || json.Unmarshal(data, &again) != nil {
		return false
	}
	return reflect.DeepEqual(again, b)
}

// chunkSize keeps a statement of many rows at a size both databases take.
const chunkSize = 500

func (s store) insertIdentities(ctx context.Context, rows []*identityRow) error {
	for chunk := range slices.Chunk(rows, chunkSize) {
		if _, err := s.db.Conn(ctx).NewInsert().Model(&chunk).Exec(ctx); err != nil {
			return fmt.Errorf("insert auth identities: %w", err)
		}
	}
	return nil
}

// insertProviderIdentities inserts the rows whose entity is nobody's yet, and says which they were. Transactions that take
// several entities take them in one order, so that they wait, but not for each other.
func (s store) insertProviderIdentities(ctx context.Context, rows []*providerRow) (made map[string]bool, err error) {
	made = make(map[string]bool, len(rows))
	inOrder := slices.SortedStableFunc(slices.Values(rows), func(a, b *providerRow) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.EntityID, b.EntityID))
	})
	for chunk := range slices.Chunk(inOrder, chunkSize) {
		var inserted []string
		err := s.db.Conn(ctx).NewInsert().Model(&chunk).On("CONFLICT (provider, entity_id) DO NOTHING").Returning("id").Scan(ctx, &inserted)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, fmt.Errorf("insert provider identities: %w", err)
		}
		for _, id := range inserted {
			made[id] = true
		}
	}
	return made, nil
}

func (s store) listIdentities(ctx context.Context, f IdentityFilter, p Page) ([]Identity, error) {
	if err := p.check(identityOrders); err != nil || p.Limit == CountOnly {
		return nil, err
	}
	var rows []*identityRow
	if err := p.apply(f.apply(s.db.Conn(ctx).NewSelect().Model(&rows))).Scan(ctx); err != nil {
		return nil, fmt.Errorf("list auth identities: %w", err)
	}
	return s.withProviders(ctx, rows)
}

func (s store) countIdentities(ctx context.Context, f IdentityFilter) (int, error) {
	n, err := f.apply(s.db.Conn(ctx).NewSelect().Model((*identityRow)(nil))).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count auth identities: %w", err)
	}
	return int(n), nil
}

// identitiesByID returns those of the identities that exist, in the order of the ids.
func (s store) identitiesByID(ctx context.Context, ids []IdentityID) ([]Identity, error) {
	found := make(map[IdentityID]Identity, len(ids))
	for chunk := range slices.Chunk(ids, chunkSize) {
		var rows []*identityRow
		if err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id IN (?)", database.List(chunk...)).Scan(ctx); err != nil {
			return nil, fmt.Errorf("read auth identities: %w", err)
		}
		identities, err := s.withProviders(ctx, rows)
		if err != nil {
			return nil, err
		}
		for _, i := range identities {
			found[i.ID] = i
		}
	}
	return inOrderOf(ids, found), nil
}

func (s store) withProviders(ctx context.Context, rows []*identityRow) ([]Identity, error) {
	of := map[IdentityID][]ProviderIdentity{}
	for chunk := range slices.Chunk(identityIDs(rows), chunkSize) {
		providers, err := s.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: chunk})
		if err != nil {
			return nil, err
		}
		for _, p := range providers {
			of[p.IdentityID] = append(of[p.IdentityID], p)
		}
	}
	var out []Identity
	for _, r := range rows {
		out = append(out, r.identity(of[r.ID]))
	}
	return out, nil
}

func (s store) listProviderIdentities(ctx context.Context, f ProviderIdentityFilter, p Page) ([]ProviderIdentity, error) {
	if err := p.check(providerIdentityOrders); err != nil || p.Limit == CountOnly {
		return nil, err
	}
	return s.publicProviderIdentities(ctx, p.apply(f.apply(s.publicRows(ctx))))
}

func (s store) countProviderIdentities(ctx context.Context, f ProviderIdentityFilter) (int, error) {
	n, err := f.apply(s.db.Conn(ctx).NewSelect().Model((*providerRow)(nil))).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count provider identities: %w", err)
	}
	return int(n), nil
}

// providerIdentitiesByID returns those of the provider identities that exist, in the order of the ids.
func (s store) providerIdentitiesByID(ctx context.Context, ids []string) ([]ProviderIdentity, error) {
	found := make(map[string]ProviderIdentity, len(ids))
	for chunk := range slices.Chunk(ids, chunkSize) {
		rows, err := s.providerIdentities(ctx, ProviderIdentityFilter{IDs: chunk})
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			found[p.ID] = p
		}
	}
	return inOrderOf(ids, found), nil
}

func inOrderOf[K comparable, V any](keys []K, found map[K]V) []V {
	var out []V
	for _, k := range keys {
		if v, ok := found[k]; ok {
			out = append(out, v)
		}
	}
	return out
}

// lockIdentities reads those of the identities that exist, for the rest of the transaction, by id, which is the order
// everybody locks in.
func (s store) lockIdentities(ctx context.Context, ids []IdentityID, lock string) (rows []*identityRow, err error) {
	for chunk := range slices.Chunk(sorted(ids), chunkSize) {
		var some []*identityRow
		q := s.db.Conn(ctx).NewSelect().Model(&some).Where("id IN (?)", database.List(chunk...)).Order("id")
		if err := s.db.ForUpdate(q, lock).Scan(ctx); err != nil {
			return nil, fmt.Errorf("lock auth identities: %w", err)
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// lockProviderIdentities reads those of the provider identities that exist for change, by id.
func (s store) lockProviderIdentities(ctx context.Context, ids []string) (rows []*providerRow, err error) {
	for chunk := range slices.Chunk(sorted(ids), chunkSize) {
		var some []*providerRow
		q := s.db.Conn(ctx).NewSelect().Model(&some).Where("id IN (?)", database.List(chunk...)).Order("id")
		if err := s.db.ForUpdate(q, "NO KEY UPDATE").Scan(ctx); err != nil {
			return nil, fmt.Errorf("lock provider identities: %w", err)
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

func sorted[T ~string](ids []T) []T { return slices.Compact(slices.Sorted(slices.Values(ids))) }

func (s store) updateAppMetadata(ctx context.Context, r *identityRow) error {
	r.UpdatedAt = database.Now()
	if _, err := s.db.Conn(ctx).NewUpdate().Model(r).Column("app_metadata", "updated_at").WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("update auth identity: %w", err)
	}
	return nil
}

func (s store) updateMetadata(ctx context.Context, r *providerRow) error {
	r.UpdatedAt = database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model(r).Column("user_metadata", "provider_metadata", "updated_at").WherePK().Exec(ctx)
	if err != nil {
		return fmt.Errorf("update provider identity: %w", err)
	}
	return nil
}

// deleteProviderIdentities deletes the provider identities and returns what they were. Their identities are locked before,
// so that of two who each take one of the last two ways to sign in one sees what the other has taken.
func (s store) deleteProviderIdentities(ctx context.Context, ids []string) (deleted []*providerRow, err error) {
	for {
		found, err := s.providerIdentitiesByID(ctx, sorted(ids))
		if err != nil || len(found) == 0 {
			return deleted, err
		}
		wanted, owners := make([]string, len(found)), make([]IdentityID, len(found))
		for i, p := range found {
			wanted[i], owners[i] = p.ID, p.IdentityID
		}
		if _, err := s.lockIdentities(ctx, owners, "NO KEY UPDATE"); err != nil {
			return nil, err
		}
		for i := 0; i < len(wanted); i += chunkSize {
			end := min(i+chunkSize, len(wanted))
			var gone []*providerRow
			err := s.db.Conn(ctx).NewDelete().Model((*providerRow)(nil)).Where("id IN (?)", database.List(wanted[i:end]...)).
				Where("auth_identity_id IN (?)", database.List(owners[i:end]...)). // what was moved to another meanwhile is for the next turn
				Returning("id, auth_identity_id").Scan(ctx, &gone)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return nil, fmt.Errorf("delete provider identities: %w", err)
			}
			deleted = append(deleted, gone...)
		}
	}
}

// withoutWays returns those of the identities that have no provider identity.
func (s store) withoutWays(ctx context.Context, ids []IdentityID) (empty []string, err error) {
	for chunk := range slices.Chunk(ids, chunkSize) {
		var some []string
		err := s.db.Conn(ctx).NewSelect().Model((*identityRow)(nil)).Column("id").Where("id IN (?)", database.List(chunk...)).
			Where("NOT EXISTS (SELECT 1 FROM latchkey_provider_identity p WHERE p.auth_identity_id = a.id)").Order("id").Scan(ctx, &some)
		if err != nil {
			return nil, fmt.Errorf("look for ways to sign in: %w", err)
		}
		empty = append(empty, some...)
	}
	return empty, nil
}

type oneTimeRow struct {
	bun.BaseModel `bun:"table:latchkey_one_time_token,alias:t"`

	Purpose            string `bun:",pk"`
	ProviderIdentityID string `bun:",pk"`
	ActorType          string
	TokenHash          string
	Channel            Channel
	IssuedAt           time.Time
	ExpiresAt          time.Time
	SpentAt            time.Time `bun:",nullzero"`
}

// good reports whether the token can be used.
func (r oneTimeRow) good() bool { return r.SpentAt.IsZero() && r.ExpiresAt.After(time.Now()) }

// putOneTimeToken makes r the token of its purpose for the provider identity unless there is one that was asked for at
// the same time or later, and returns whichever there is then.
func (s store) putOneTimeToken(ctx context.Context, r *oneTimeRow) (*oneTimeRow, error) {
	_, err := s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (purpose, provider_identity_id) DO UPDATE").
		Set("actor_type = EXCLUDED.actor_type").Set("token_hash = EXCLUDED.token_hash").Set("channel = EXCLUDED.channel").
		Set("issued_at = EXCLUDED.issued_at").Set("expires_at = EXCLUDED.expires_at").Set("spent_at = NULL").
		Where("t.issued_at < EXCLUDED.issued_at").Returning("NULL").Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("put one-time token: %w", err)
	}
	var rows []oneTimeRow
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("purpose = ?", r.Purpose).Where("provider_identity_id = ?", r.ProviderIdentityID).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return nil, fmt.Errorf("read one-time token: %w", cmp.Or(err, sql.ErrNoRows))
	}
	return &rows[0], nil
}

// extendOneTimeToken gives the token its new expiry, unless it was used meanwhile.
func (s store) extendOneTimeToken(ctx context.Context, r *oneTimeRow) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model(r).Column("expires_at").WherePK().Where("spent_at IS NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("extend one-time token: %w", err)
	}
	return nil
}

// oneTimeToken returns the token, whatever became of it; nil if there is none.
func (s store) oneTimeToken(ctx context.Context, purpose, hash string) (*oneTimeRow, error) {
	var rows []oneTimeRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("token_hash = ?", hash).Where("purpose = ?", purpose).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read one-time token: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// spendOneTimeToken uses the token up if it is good, and reports whether it was. Of several at once one does.
func (s store) spendOneTimeToken(ctx context.Context, purpose, providerIdentityID, hash string) (bool, error) {
	now := database.Now()
	spent, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model((*oneTimeRow)(nil)).Set("spent_at = ?", now).
		Where("purpose = ?", purpose).Where("provider_identity_id = ?", providerIdentityID).Where("token_hash = ?", hash).
		Where("spent_at IS NULL").Where("expires_at > ?", now).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("spend one-time token: %w", err)
	}
	return spent, nil
}

// voidOneTimeTokens makes what is out for the provider identity useless.
func (s store) voidOneTimeTokens(ctx context.Context, providerIdentityID string) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*oneTimeRow)(nil)).Set("spent_at = ?", database.Now()).
		Where("provider_identity_id = ?", providerIdentityID).Where("spent_at IS NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("void one-time tokens: %w", err)
	}
	return nil
}

// deleteUnproved removes the identity's ways to sign in that have not proved the address, and says which these were.
func (s store) deleteUnproved(ctx context.Context, id IdentityID, address string) (deleted []string, err error) {
	err = s.db.Conn(ctx).NewDelete().Model((*providerRow)(nil)).
		Where("id IN (?)", s.waysInOrder(ctx, id, "UPDATE").Where("w.email IS DISTINCT FROM ? OR w.email_verified_at IS NULL", address)).
		Returning("id").Scan(ctx, &deleted)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("delete unproved provider identities: %w", err)
	}
	return deleted, nil
}

// carrySession lets a session of that ver live on over the last move of its identity's, and reports whether it was alive. Its
// cookie does not: whoever had a token of before may have made one of it.
func (s store) carrySession(ctx context.Context, id SessionID, identity IdentityID, ver int64) (bool, error) {
	carried, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model((*sessionRow)(nil)).Set("ver = ver + 1").Set("secret_hash = NULL").
		Where("id = ?", id).Where("ver = ?", ver).Where("auth_identity_id = ?", identity).Where("expires_at > ?", database.Now()).
		Where("ver + 1 = (SELECT a.ver FROM latchkey_auth_identity a WHERE a.id = ?)", identity).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("carry session: %w", err)
	}
	return carried, nil
}

type emailChangeRow struct {
	bun.BaseModel `bun:"table:latchkey_email_change,alias:c"`

	AuthIdentityID IdentityID `bun:",pk"`
	Ver            int64
	OldEmail       string `bun:",nullzero"`
	NewEmail       string
	TokenHash      string
	IssuedAt       time.Time
	ExpiresAt      time.Time `bun:",nullzero"`
}

func (r emailChangeRow) change() EmailChange {
	return EmailChange{From: r.OldEmail, To: r.NewEmail, ExpiresAt: database.UTC(r.ExpiresAt)}
}

// putEmailChange makes r the change that is pending for its identity, whatever was before.
func (s store) putEmailChange(ctx context.Context, r *emailChangeRow) error {
	_, err := s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (auth_identity_id) DO UPDATE").
		Set("ver = EXCLUDED.ver").Set("old_email = EXCLUDED.old_email").Set("new_email = EXCLUDED.new_email").
		Set("token_hash = EXCLUDED.token_hash").Set("issued_at = EXCLUDED.issued_at").Set("expires_at = NULL").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("put e-mail change: %w", err)
	}
	return nil
}

// emailChange returns the change that is pending for the identity, expired or not; nil if there is none, or the identity's
// ver has moved since it was asked for.
func (s store) emailChange(ctx context.Context, id IdentityID) (*emailChangeRow, error) {
	var rows []emailChangeRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).ColumnExpr("c.*").
		Join("JOIN latchkey_auth_identity a ON a.id = c.auth_identity_id AND a.ver = c.ver").Where("c.auth_identity_id = ?", id).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read e-mail change: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// extendEmailChange gives the change its expiry, unless it is gone or another one by now.
func (s store) extendEmailChange(ctx context.Context, r *emailChangeRow) (bool, error) {
	extended, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model(r).Column("expires_at").WherePK().Where("token_hash = ?", r.TokenHash).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("extend e-mail change: %w", err)
	}
	return extended, nil
}

// takeEmailChange deletes the change and returns it if it can be confirmed; nil otherwise. Of several at once one gets it.
func (s store) takeEmailChange(ctx context.Context, id IdentityID, hash string, ver int64) (*emailChangeRow, error) {
	var rows []emailChangeRow
	err := s.db.Conn(ctx).NewDelete().Model((*emailChangeRow)(nil)).Where("auth_identity_id = ?", id).Where("token_hash = ?", hash).
		Where("ver = ?", ver).Where("expires_at > ?", database.Now()).Returning("*").Scan(ctx, &rows)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("take e-mail change: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// deleteEmailChanges deletes every pending change to one of the addresses.
func (s store) deleteEmailChanges(ctx context.Context, addresses ...string) error {
	for chunk := range slices.Chunk(sorted(addresses), chunkSize) {
		_, err := s.db.Conn(ctx).NewDelete().Model((*emailChangeRow)(nil)).Where("auth_identity_id IN (?)", s.changesInOrder(ctx, chunk...)).Exec(ctx)
		if err != nil {
			return fmt.Errorf("delete e-mail changes: %w", err)
		}
	}
	return nil
}

// changesInOrder is a query for whose changes to the addresses are pending that locks these in the order everybody locks in.
func (s store) changesInOrder(ctx context.Context, addresses ...string) *bun.SelectQuery {
	q := s.db.Conn(ctx).NewSelect().TableExpr("latchkey_email_change AS o").Column("o.auth_identity_id").
		Where("o.new_email IN (?)", database.List(addresses...)).Order("o.auth_identity_id")
	return s.db.ForUpdate(q, "UPDATE")
}

// lockEmailChanges is for who takes one of the changes to the address, and then deletes the others.
func (s store) lockEmailChanges(ctx context.Context, address string) error {
	var held []IdentityID
	if err := s.changesInOrder(ctx, address).Scan(ctx, &held); err != nil {
		return fmt.Errorf("lock e-mail changes: %w", err)
	}
	return nil
}

// waysWithSecret are the identity's provider identities that keep a secret.
func (s store) waysWithSecret(ctx context.Context, id IdentityID) ([]ProviderIdentity, error) {
	return s.publicProviderIdentities(ctx, s.publicRows(ctx).Where("p.auth_identity_id = ?", id).Where("p.secret IS NOT NULL").Order("p.id"))
}

// takeEntity reports whether the provider of a provider identity knows nobody by the entity id, and if so keeps it from
// others until the transaction ends. It does by a row that comes and goes, because INSERT knows ON CONFLICT and UPDATE
// does not.
func (s store) takeEntity(ctx context.Context, of ProviderIdentity, entityID string) (free bool, err error) {
	now := database.Now()
	r := &providerRow{ID: id.New(""), AuthIdentityID: of.IdentityID, Provider: of.Provider, EntityID: entityID, CreatedAt: now, UpdatedAt: now}
	made, err := s.insertProviderIdentities(ctx, []*providerRow{r})
	if err != nil || !made[r.ID] {
		return false, err
	}
	return true, s.deleteWay(ctx, r.ID)
}

func (s store) deleteWay(ctx context.Context, id string) error {
	if _, err := s.db.Conn(ctx).NewDelete().Model((*providerRow)(nil)).Where("id = ?", id).Exec(ctx); err != nil {
		return fmt.Errorf("delete provider identity: %w", err)
	}
	return nil
}

// moveWay makes a proved address the entity id and the address of a provider identity.
func (s store) moveWay(ctx context.Context, id, address string) error {
	now := database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model((*providerRow)(nil)).Set("entity_id = ?", address).Set("email = ?", address).
		Set("email_verified_at = ?", now).Set("updated_at = ?", now).Where("id = ?", id).Exec(ctx)
	if err != nil {
		return fmt.Errorf("move provider identity: %w", err)
	}
	return nil
}

type throttleRow struct {
	bun.BaseModel `bun:"table:latchkey_auth_throttle,alias:t"`

	ID        string `bun:",pk"`
	Subject   string `bun:",nullzero"`
	Failed    int64
	Pending   int64
	ExpiresAt time.Time
}

// reserve counts one more that has begun in each of the buckets, whose windows begin anew if they are over, and returns the
// rows in their order. The buckets are in the order of their ids: everybody locks in that order, so nobody locks crosswise.
func (s store) reserve(ctx context.Context, buckets []bucket, now time.Time) ([]throttleRow, error) {
	rows := make([]throttleRow, len(buckets))
	for i, b := range buckets {
		rows[i] = throttleRow{ID: b.id, Subject: b.subject, Pending: 1, ExpiresAt: now.Add(b.limit.Per)}
	}
	var back []throttleRow
	err := s.db.Conn(ctx).NewInsert().Model(&rows).On("CONFLICT (id) DO UPDATE").
		Set("failed = CASE WHEN t.expires_at > ? THEN t.failed ELSE 0 END", now).
		Set("pending = CASE WHEN t.expires_at > ? THEN t.pending + 1 ELSE 1 END", now).
		Set("expires_at = CASE WHEN t.expires_at > ? THEN t.expires_at ELSE EXCLUDED.expires_at END", now).
		Returning("id, failed, pending, expires_at").Scan(ctx, &back)
	if err != nil {
		return nil, fmt.Errorf("count attempt: %w", err)
	}
	slices.SortFunc(back, func(a, b throttleRow) int { return cmp.Compare(a.ID, b.ID) })
	if len(back) != len(buckets) {
		return nil, fmt.Errorf("count attempt: %d of %d counts", len(back), len(buckets))
	}
	return back, nil
}

// settle gives places back, or makes failures of them, unless their windows are over; what is to be forgotten has no failures
// afterwards. It returns what has become of the rows.
func (s store) settle(ctx context.Context, places []held, forget []string, failed bool) ([]throttleRow, error) {
	one := 0
	if failed {
		one = 1
	}
	place, args := "FALSE", []any(nil)
	for _, p := range places {
		place, args = place+" OR t.id = ? AND t.expires_at = ? AND t.pending > 0", append(args, p.bucket.id, p.expires)
	}
	q := s.db.Conn(ctx).NewSelect().Model((*throttleRow)(nil)).Column("t.id").
		Where(place, args...).WhereOr("t.id IN (?) AND t.failed > 0", database.List(forget...)).Order("t.id")
	var rows []throttleRow
	// One statement, or some would be locked out of order.
	err := s.db.Conn(ctx).NewUpdate().Model((*throttleRow)(nil)).
		Set("failed = CASE WHEN t.id IN (?) THEN 0 ELSE failed + ? END", database.List(forget...), one).
		Set("pending = CASE WHEN "+place+" THEN pending - 1 ELSE pending END", args...).
		Where("id IN (?)", s.db.ForUpdate(q, "UPDATE")).
		Returning("id, failed, pending, expires_at").Scan(ctx, &rows)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("settle attempt: %w", err)
	}
	return rows, nil
}

// take counts one in the bucket if there is room, and otherwise returns until when there is none.
func (s store) take(ctx context.Context, b bucket, now time.Time) (until time.Time, err error) {
	r := &throttleRow{ID: b.id, Subject: b.subject, Failed: 1, ExpiresAt: now.Add(b.limit.Per)}
	q := s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (id) DO UPDATE").
		Set("failed = CASE WHEN t.expires_at > ? THEN t.failed + 1 ELSE 1 END", now).
		Set("expires_at = CASE WHEN t.expires_at > ? THEN t.expires_at ELSE EXCLUDED.expires_at END", now).
		Where("t.expires_at <= ? OR t.failed < ? OR ? <= 0", now, b.limit.Most, b.limit.Most).Returning("NULL")
	counted, err := database.Touched(q.Exec(ctx))
	if err != nil {
		return time.Time{}, fmt.Errorf("count: %w", err)
	}
	if counted {
		return time.Time{}, nil
	}
	until, err = s.throttledUntil(ctx, b, now)
	if err == nil && until.IsZero() {
		until = now // there is room again meanwhile
	}
	return until, err
}

// throttledUntil is the end of the bucket's window if there is no room in it; zero: there is.
func (s store) throttledUntil(ctx context.Context, b bucket, now time.Time) (until time.Time, err error) {
	var rows []throttleRow
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("id = ?", b.id).
		Where("expires_at > ?", now).Where("failed >= ?", b.limit.Most).Where("? > 0", b.limit.Most).Scan(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("read count: %w", err)
	}
	if len(rows) > 0 {
		until = rows[0].ExpiresAt
	}
	return until, nil
}

// forgetThrottles takes away what is counted of the subjects. The rows are locked in everybody's order.
func (s store) forgetThrottles(ctx context.Context, subjects ...string) error {
	q := s.db.Conn(ctx).NewSelect().Model((*throttleRow)(nil)).Column("t.id").Where("t.subject IN (?)", bun.In(subjects)).Order("t.id")
	_, err := s.db.Conn(ctx).NewDelete().Model((*throttleRow)(nil)).Where("id IN (?)", s.db.ForUpdate(q, "UPDATE")).Exec(ctx)
	if err != nil {
		return fmt.Errorf("forget failures: %w", err)
	}
	return nil
}

func (s store) deleteExpiredThrottles(ctx context.Context, now time.Time, most int) (int, error) {
	q := s.db.Conn(ctx).NewSelect().Model((*throttleRow)(nil)).Column("t.id").
		Where("t.expires_at <= ?", now).Order("t.expires_at", "t.id").Limit(int64(max(0, most)))
	result, err := s.db.Conn(ctx).NewDelete().Model((*throttleRow)(nil)).
		Where("id IN (?)", s.db.ForUpdate(q, "UPDATE SKIP LOCKED")).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete expired counts: %w", err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// sessionAddresses are those that the identity is signed in from, as far as its sessions live.
func (s store) sessionAddresses(ctx context.Context, id IdentityID) (addresses []string, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*sessionRow)(nil)).ColumnExpr("DISTINCT s.ip").
		Join("JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id AND a.ver = s.ver").
		Where("s.auth_identity_id = ?", id).Where("s.expires_at > ?", database.Now()).Limit(200).Scan(ctx, &addresses)
	if err != nil {
		return nil, fmt.Errorf("read where sessions are from: %w", err)
	}
	return addresses, nil
}
