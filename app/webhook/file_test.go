package webhook_test

import (
	"sync"

	"github.com/latchkey-go/latchkey/modules/user"
)

// file is where a ring's secrets come from.
type file struct {
	mu      sync.Mutex
	secrets [][]byte
	changed bool
}

func (f *file) write(secrets ...[]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets, f.changed = secrets, true
}

func (f *file) Secrets() ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = false
	return f.secrets, nil
}

func (f *file) Changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func deleted(id user.ID) user.Deleted { return user.Deleted{ID: id} }
