package auth

import (
	"slices"
	"sync/atomic"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// peppers are what password hashes are made under. They come from a list of their own, if there is one; from the database,
// where Custody keeps those that are in use; and from the secrets. The first makes hashes, all verify.
type peppers struct {
	own     *keyring.Ring // nil: there is no list
	secrets *keyring.Ring
	kept    atomic.Pointer[keptPeppers]
}

// keptPeppers is what Custody has found in the database.
type keptPeppers struct {
	keys []keyring.Key   // the first makes hashes where there is no list
	lost map[string]bool // by name: given up by whoever forced a start without them
}

// list is the list of its own.
func (p *peppers) list() []keyring.Key {
	if p.own == nil {
		return nil
	}
	return p.own.Keys(keyring.Pepper)
}

func (p *peppers) first() keyring.Key {
	if own := p.list(); len(own) > 0 {
		return own[0]
	}
	if kept := p.kept.Load(); kept != nil && len(kept.keys) > 0 {
		return kept.keys[0]
	}
	return p.secrets.Keys(keyring.Pepper)[0]
}

// named is the pepper that a hash names. If there is none, another node may have a new one: the lists are read once more.
func (p *peppers) named(id string) (keyring.Key, bool) {
	if kept := p.kept.Load(); kept != nil {
		if i := slices.IndexFunc(kept.keys, func(k keyring.Key) bool { return k.ID == id }); i >= 0 {
			return kept.keys[i], true
		}
	}
	if p.own != nil {
		if k, ok := p.own.Named(keyring.Pepper, id); ok {
			return k, true
		}
	}
	return p.secrets.Named(keyring.Pepper, id)
}

// givenUp reports whether a pepper is lost for good: no password fits a hash under it.
func (p *peppers) givenUp(id string) bool {
	kept := p.kept.Load()
	return kept != nil && kept.lost[id]
}
