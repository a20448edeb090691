package doctor

import (
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// An Invariant is something that holds at any time, in every state that a transaction has left behind.
type Invariant struct {
	Name   string `json:"name"`
	Rule   string `json:"rule"`   // of docs/reliability.md, I1 to I7
	Means  string `json:"means"`  // what holds, in a sentence
	Remedy string `json:"remedy"` // what to do where it does not

	// query finds the ids of what breaks it, as the one column id. ?0 is the time since which every event is still in the
	// outbox, ?1 the same of the audit trail: about what is older, a query that needs them cannot know. It must be quick for a
	// million users: by an index, or by one pass over each table that both databases sort or hash.
	query string
	only  database.Dialect // empty: for both
}

var tableName = regexp.MustCompile(`latchkey_\w+`)

// tables are those that the query reads.
func (i Invariant) tables() []string {
	names := tableName.FindAllString(i.query, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

// Invariants are all there are for a kind of database.
func Invariants(of database.Dialect) []Invariant {
	return slices.DeleteFunc(slices.Clone(invariants), func(i Invariant) bool { return i.only != "" && i.only != of })
}

// What is to be done, where it is the same for many.
const (
	merge      = "Somebody has gone around the unique index. Decide which of the rows is the right one, delete the others, then make the index again."
	rewire     = "Nobody can come in by it. Look in the audit trail for what the ids stand for, then delete the row."
	sweep      = "It does no harm and is of no use: delete the row. The foreign key should have; make it again if it is gone."
	report     = "No act of the server leaves this: look in the audit trail for what happened at that time, and report it with the versions in use."
	makeHash   = "Void what it opens at once: delete the row. Then find what wrote it, since the server writes hashes only."
	unsealed   = "Rotate the webhook's secret with --now. Then find what wrote it, since the server writes encrypted ones only."
	retell     = "Consumers of events have missed it. Do by hand what they would have done, and report it."
	reindex    = "It works, and searching misses it. Save the address or name of the row anew: the trigger writes the index."
	hexadecals = "'0123456789abcdef'"
)

// notHash is the condition that a column holds something else than a SHA-256 in hexadecimal.
func notHash(column string) string {
	return column + " IS NOT NULL AND (length(" + column + ") <> 64 OR rtrim(" + column + ", " + hexadecals + ") <> '')"
}

// orphans finds the rows of a table whose reference leads to no row.
func orphans(id, table, column, parent, key string) string {
	return "SELECT c." + id + " AS id FROM " + table + " c WHERE NOT EXISTS (SELECT 1 FROM " + parent + " p WHERE p." + key + " = c." + column + ")"
}

// uniqueIndexes keep what must not be there twice, each in its table. The names stand without latchkey_.
var uniqueIndexes = [][2]string{
	{"provider_identity_entity", "provider_identity"}, {"user_email", "user"}, {"invite_email", "invite"}, {"invite_setup", "invite"},
	{"link_actor", "link"}, {"auth_session_secret", "auth_session"}, {"one_time_token_hash", "one_time_token"}, {"outbox_event_id", "outbox_event"},
	{"webhook_secret_current", "webhook_secret"},
}

func wantedIndexes() string {
	var rows []string
	for _, w := range uniqueIndexes {
		rows = append(rows, "SELECT '"+w[0]+"' AS name, '"+w[1]+"' AS tab")
	}
	return "(" + strings.Join(rows, " UNION ALL ") + ") w"
}

var invariants = []Invariant{
	// I1: one identity for a provider's entity.
	{
		Name: "identity_once", Rule: "I1", Remedy: merge,
		Means: "A provider's entity, such as an address with a password, is one way to sign in and no more.",
		query: "SELECT min(id) AS id FROM latchkey_provider_identity GROUP BY provider, entity_id HAVING count(*) > 1",
	},
	{
		Name: "unique_indexes", Rule: "I1", only: database.SQLite,
		Means:  "The unique indexes are there that decide who of two at once was first.",
		Remedy: "Without it two at once may both win. Stop the servers, see by this command that nothing is there twice, and make the index again as the migration has it.",
		query: "SELECT w.name AS id FROM " + wantedIndexes() + ` WHERE NOT EXISTS (
			SELECT 1 FROM sqlite_master m WHERE m.type = 'index' AND m.name = 'latchkey_' || w.name AND m.sql LIKE 'CREATE UNIQUE %')
			AND EXISTS (SELECT 1 FROM sqlite_master t WHERE t.type = 'table' AND t.name = 'latchkey_' || w.tab)`,
	},
	{
		Name: "unique_indexes", Rule: "I1", only: database.Postgres,
		Means:  "The unique indexes are there that decide who of two at once was first.",
		Remedy: "Without it two at once may both win. Stop the servers, see by this command that nothing is there twice, and make the index again as the migration has it.",
		query: "SELECT w.name AS id FROM " + wantedIndexes() + ` WHERE NOT EXISTS (
			SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = current_schema() AND c.relname = 'latchkey_' || w.name AND i.indisunique AND i.indisvalid)
			AND to_regclass('latchkey_' || w.tab) IS NOT NULL`,
	},

	// I2: one living user for an address.
	{
		Name: "address_once", Rule: "I2", Remedy: merge,
		Means: "An address has one living user at most.",
		query: "SELECT min(id) AS id FROM latchkey_user WHERE deleted_at IS NULL AND email IS NOT NULL GROUP BY email HAVING count(*) > 1",
	},
	{
		Name: "address_canonical", Rule: "I2",
		Means:  "Addresses of users and invites are kept in the one spelling by which they are compared.",
		Remedy: "Who signs in is not found by it, and may become a second user. Change the address to lower case, without blanks; NULL where there is none.",
		query: `SELECT id FROM latchkey_user WHERE email IS NOT NULL AND (email <> lower(email) OR email <> trim(email) OR email = '')
			UNION ALL SELECT id FROM latchkey_invite WHERE email IS NOT NULL AND (email <> lower(email) OR email <> trim(email) OR email = '')`,
	},

	// I3: every link leads from one identity to one living actor, and nobody whom the bridge made is left without one.
	{
		Name: "link_to_somebody", Rule: "I3", Remedy: rewire,
		Means: "Every link to a user leads to one who is there and not deleted.",
		query: `SELECT l.auth_identity_id AS id FROM latchkey_link l WHERE l.actor_type = 'user'
			AND NOT EXISTS (SELECT 1 FROM latchkey_user u WHERE u.id = l.actor_id AND u.deleted_at IS NULL)`,
	},
	{
		Name: "link_of_somebody", Rule: "I3", Remedy: rewire,
		Means: "Every link starts at an identity that is there.",
		query: orphans("actor_id", "latchkey_link", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "actor_linked_once", Rule: "I3", Remedy: merge,
		Means: "An actor has one identity at most.",
		query: "SELECT min(actor_id) AS id FROM latchkey_link GROUP BY actor_type, actor_id HAVING count(*) > 1",
	},
	{
		Name: "identity_linked_once", Rule: "I3", Remedy: merge,
		Means: "An identity is one actor of a type at most.",
		query: "SELECT min(auth_identity_id) AS id FROM latchkey_link GROUP BY auth_identity_id, actor_type HAVING count(*) > 1",
	},
	{
		Name: "user_linked", Rule: "I3",
		Means:  "Who became a user by signing in, by an invite or by the command line has an identity, unless they were restored or the application deleted it.",
		Remedy: "They cannot sign in. Delete the user, and invite the address anew. " + report,
		query: `SELECT u.id FROM latchkey_user u WHERE u.created_via <> 'api' AND u.deleted_at IS NULL AND u.created_at > ?1
			AND NOT EXISTS (SELECT 1 FROM latchkey_link l WHERE l.actor_type = 'user' AND l.actor_id = u.id)
			AND NOT EXISTS (SELECT 1 FROM latchkey_audit_event a WHERE a.target_id = u.id AND a.action = 'user.restored')
			AND NOT EXISTS (SELECT 1 FROM latchkey_audit_event a JOIN latchkey_audit_event d
				ON d.target_id = a.details ->> 'auth_identity_id' AND d.action = 'auth.auth-identity.deleted'
				WHERE a.target_id = u.id AND a.action = 'link.linked')`,
	},
	{
		Name: "identity_has_way", Rule: "I3",
		Means:  "An identity that is linked, or was let in, has a way to sign in, or a registration that waits for its mailbox.",
		Remedy: "They cannot sign in. Delete the identity; its user, if there is one, can be invited anew. " + report,
		query: `SELECT i.id FROM latchkey_auth_identity i
			WHERE NOT EXISTS (SELECT 1 FROM latchkey_provider_identity p WHERE p.auth_identity_id = i.id)
			AND NOT EXISTS (SELECT 1 FROM latchkey_registration r WHERE r.auth_identity_id = i.id)
			AND (EXISTS (SELECT 1 FROM latchkey_link l WHERE l.auth_identity_id = i.id)
				OR EXISTS (SELECT 1 FROM latchkey_link_unlinked n WHERE n.auth_identity_id = i.id)
				OR EXISTS (SELECT 1 FROM latchkey_auth_session s WHERE s.auth_identity_id = i.id))`,
	},

	// I4: an invite makes one user at most.
	{
		Name: "invite_open_once", Rule: "I4", Remedy: merge,
		Means: "An address has one open invite at most.",
		query: "SELECT min(id) AS id FROM latchkey_invite WHERE deleted_at IS NULL AND NOT accepted GROUP BY email HAVING count(*) > 1",
	},
	{
		Name: "invite_whole", Rule: "I4", Remedy: report,
		Means: "An invite is accepted, with the time, or it is not; only an accepted one names who did.",
		query: "SELECT id FROM latchkey_invite WHERE accepted <> (accepted_at IS NOT NULL) OR (accepted_by IS NOT NULL AND NOT accepted)",
	},
	{
		Name: "invite_by_somebody", Rule: "I4", Remedy: report,
		Means: "Who has accepted an invite is a user, or was one who was deleted.",
		query: `SELECT i.id FROM latchkey_invite i WHERE i.accepted_by IS NOT NULL AND i.accepted_at > ?1
			AND NOT EXISTS (SELECT 1 FROM latchkey_user u WHERE u.id = i.accepted_by)
			AND NOT EXISTS (SELECT 1 FROM latchkey_audit_event a WHERE a.target_id = i.accepted_by AND a.action = 'user.deleted')`,
	},
	{
		Name: "user_by_invite", Rule: "I4",
		Means:  "Who became a user by an invite has accepted one, unless it was deleted since: no two have by the same.",
		Remedy: "Two people may have come in by one invite. Look in the audit trail for who accepted when, and delete who was not meant. " + report,
		query: `SELECT c.id FROM (SELECT id, created_at FROM latchkey_user WHERE created_via = 'invite' AND created_at > ?1
				EXCEPT SELECT u.id, u.created_at FROM latchkey_invite i JOIN latchkey_user u ON u.id = i.accepted_by) c
			WHERE NOT EXISTS (SELECT 1 FROM latchkey_audit_event a WHERE a.action = 'invite.deleted' AND a.ts > c.created_at
				AND NOT EXISTS (SELECT 1 FROM latchkey_invite i WHERE i.id = a.target_id))`,
	},

	// I5: nothing that opens something is kept as it is.
	{
		Name: "session_hashed", Rule: "I5", Remedy: makeHash,
		Means: "Of a session's cookie only the hash is kept.",
		query: "SELECT id FROM latchkey_auth_session WHERE " + notHash("secret_hash"),
	},
	{
		Name: "token_hashed", Rule: "I5", Remedy: makeHash,
		Means: "Of a token that sets a password only the hash is kept.",
		query: "SELECT provider_identity_id AS id FROM latchkey_one_time_token WHERE " + notHash("token_hash"),
	},
	{
		Name: "email_change_hashed", Rule: "I5", Remedy: makeHash,
		Means: "Of a token that changes an address only the hash is kept.",
		query: "SELECT auth_identity_id AS id FROM latchkey_email_change WHERE " + notHash("token_hash"),
	},
	{
		Name: "verification_hashed", Rule: "I5", Remedy: makeHash,
		Means: "Of a token that proves an address only the hash is kept.",
		query: "SELECT id FROM latchkey_verification WHERE " + notHash("token_hash"),
	},
	{
		Name: "flow_hashed", Rule: "I5", Remedy: makeHash,
		Means: "Of the id of a sign-in of two steps, and of what its browser keeps, only the hash is kept.",
		query: "SELECT provider AS id FROM latchkey_auth_flow WHERE " + notHash("id_hash") + " OR browser_hash <> '' AND (" + notHash("browser_hash") + ")", // the id itself may be a secret here
	},

	{
		Name: "webhook_secret_sealed", Rule: "I5", only: database.SQLite,
		Means:  "The secrets of webhooks are kept encrypted only.",
		Remedy: unsealed,
		query:  "SELECT s.id FROM latchkey_webhook_secret s, json_each(s.seals) j WHERE length(j.value) < 80", // of 32 bytes encrypted, in base64
	},
	{
		Name: "webhook_secret_sealed", Rule: "I5", only: database.Postgres,
		Means:  "The secrets of webhooks are kept encrypted only.",
		Remedy: unsealed,
		query:  "SELECT s.id FROM latchkey_webhook_secret s, jsonb_each_text(s.seals) j WHERE length(j.value) < 80",
	},

	// I6: what was done was announced, once.
	{
		Name: "event_once", Rule: "I6", Remedy: merge,
		Means: "An event is in the outbox once.",
		query: "SELECT min(id) AS id FROM latchkey_outbox_event GROUP BY id HAVING count(*) > 1",
	},
	{
		Name: "told_once", Rule: "I6", Remedy: report,
		Means: "What can happen to something only once is announced once: a user or invite made, an invite accepted, an identity made or deleted.",
		query: `SELECT min(aggregate_id) AS id FROM latchkey_outbox_event
			WHERE topic IN ('user.created', 'invite.created', 'invite.accepted', 'auth.auth-identity.created', 'auth.auth-identity.deleted')
			GROUP BY topic, aggregate_id HAVING count(*) > 1`,
	},
	{
		Name: "user_told", Rule: "I6", Remedy: retell,
		Means: "Every user was announced: user.created.",
		query: `SELECT id FROM latchkey_user WHERE created_at > ?0
			EXCEPT SELECT aggregate_id FROM latchkey_outbox_event WHERE topic = 'user.created'`,
	},
	{
		Name: "deletion_told", Rule: "I6", Remedy: retell,
		Means: "Every deletion of a user was announced: user.deleted.",
		query: `SELECT id FROM latchkey_user WHERE deleted_at > ?0
			EXCEPT SELECT aggregate_id FROM latchkey_outbox_event WHERE topic = 'user.deleted'`,
	},
	{
		Name: "link_told", Rule: "I6", Remedy: retell,
		Means: "Every link was announced: link.linked.",
		query: `SELECT actor_id AS id FROM latchkey_link WHERE created_at > ?0
			EXCEPT SELECT aggregate_id FROM latchkey_outbox_event WHERE topic = 'link.linked'`,
	},
	{
		Name: "acceptance_told", Rule: "I6", Remedy: retell,
		Means: "Every acceptance of an invite was announced: invite.accepted.",
		query: `SELECT id FROM latchkey_invite WHERE accepted_at > ?0
			EXCEPT SELECT aggregate_id FROM latchkey_outbox_event WHERE topic = 'invite.accepted'`,
	},
	{
		Name: "delivery_of_event", Rule: "I6", Remedy: sweep,
		Means: "What is to be delivered is an event that is there.",
		query: "SELECT d.consumer AS id FROM latchkey_outbox_delivery d WHERE NOT EXISTS (SELECT 1 FROM latchkey_outbox_event e WHERE e.seq = d.event_seq)",
	},
	{
		Name: "webhook_heard", Rule: "I6",
		Means:  "Events are recorded for every webhook that is enabled, and for no other.",
		Remedy: "Disable the webhook and enable it again; of one that is not there, 'server events discard' drops what waits for it. " + report,
		query: `SELECT id FROM (SELECT id FROM latchkey_webhook_endpoint WHERE disabled_at IS NULL
				EXCEPT SELECT target FROM latchkey_outbox_consumer WHERE name = 'webhook') deaf
			UNION ALL SELECT id FROM (SELECT target AS id FROM latchkey_outbox_consumer WHERE name = 'webhook' AND target <> ''
				EXCEPT SELECT id FROM latchkey_webhook_endpoint WHERE disabled_at IS NULL) gone`,
	},
	{
		Name: "webhook_signed", Rule: "I6", Remedy: "It is sent nothing. Rotate its secret: 'server webhooks rotate'. " + report,
		Means: "Every webhook has one secret of now.",
		query: "SELECT id FROM latchkey_webhook_endpoint EXCEPT SELECT endpoint_id FROM latchkey_webhook_secret WHERE expires_at IS NULL",
	},

	// I7: what works once has worked once.
	{
		Name: "invite_used_once", Rule: "I7", Remedy: report,
		Means: "By the audit trail, no invite was accepted twice.",
		query: `SELECT target_id AS id FROM latchkey_audit_event WHERE action = 'invite.accepted' AND outcome = 'success' AND target_id IS NOT NULL
			GROUP BY target_id HAVING count(*) > 1`,
	},
	{
		Name: "token_once", Rule: "I7", Remedy: merge,
		Means: "A way to sign in has one token of a purpose at most, and no two have the same.",
		query: `SELECT min(provider_identity_id) AS id FROM latchkey_one_time_token GROUP BY token_hash HAVING count(*) > 1
			UNION SELECT min(provider_identity_id) FROM latchkey_one_time_token GROUP BY purpose, provider_identity_id HAVING count(*) > 1`,
	},
	{
		Name: "session_of_now", Rule: "I7",
		Means:  "No session is of a later version of its identity's credentials than there is.",
		Remedy: "It outlives what ends sessions: a table was set back to an older state, such as by a backup of it alone. Delete the session.",
		query:  "SELECT s.id FROM latchkey_auth_session s JOIN latchkey_auth_identity i ON i.id = s.auth_identity_id WHERE s.ver > i.ver",
	},

	// What belongs to something is gone with it.
	{
		Name: "way_of_somebody", Rule: "orphans", Remedy: rewire,
		Means: "Every way to sign in belongs to an identity.",
		query: orphans("id", "latchkey_provider_identity", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "session_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every session belongs to an identity.",
		query: orphans("id", "latchkey_auth_session", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "token_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every one-time token belongs to a way to sign in.",
		query: orphans("provider_identity_id", "latchkey_one_time_token", "provider_identity_id", "latchkey_provider_identity", "id"),
	},
	{
		Name: "email_change_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every change of address belongs to an identity.",
		query: orphans("auth_identity_id", "latchkey_email_change", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "verification_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every verification of an address belongs to an identity.",
		query: orphans("id", "latchkey_verification", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "registration_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every registration that waits for its mailbox belongs to an identity.",
		query: orphans("auth_identity_id", "latchkey_registration", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "unlinked_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "What is noted of who became nobody is about an identity that is there.",
		query: orphans("auth_identity_id", "latchkey_link_unlinked", "auth_identity_id", "latchkey_auth_identity", "id"),
	},
	{
		Name: "webhook_secret_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every secret of a webhook is of one that is there.",
		query: orphans("id", "latchkey_webhook_secret", "endpoint_id", "latchkey_webhook_endpoint", "id"),
	},
	{
		Name: "role_of_somebody", Rule: "orphans", Remedy: sweep,
		Means: "Every role is a user's.",
		query: orphans("user_id", "latchkey_user_role", "user_id", "latchkey_user", "id"),
	},
	{
		Name: "user_found", Rule: "orphans", Remedy: reindex, only: database.SQLite,
		Means: "Every user is in the index that searching goes by.",
		query: orphans("id", "latchkey_user", "id", "latchkey_user_trigram_row", "user_id"),
	},
	{
		Name: "invite_found", Rule: "orphans", Remedy: reindex, only: database.SQLite,
		Means: "Every invite is in the index that searching goes by.",
		query: orphans("id", "latchkey_invite", "id", "latchkey_invite_trigram_row", "invite_id"),
	},
}
