package databasetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// Service is a table of every method of a service, and Test holds each to what every method promises. F is what calls
// need: the service, and something of each kind to call its methods with.
//
// To add a method, add its row to Methods: Test says which cases it wants.
type Service[F any] struct {
	Migrations []database.Migrations
	// New makes an F on empty tables. Its service emits to events.
	New func(t *testing.T, db *database.DB, events event.Emitter) F
	// Methods are the rows, by the name of the method.
	Methods map[string]Method[F]
	// Untested are the methods that have no row, and why.
	Untested map[string]string
	// Beside are tables that failures write to as well, such as counts of them: what they hold is not compared.
	Beside []string
	// Inspect looks at everything that comes out: each result, each event. Nil: nobody does.
	Inspect func(t *testing.T, f F, method string, out any)
}

// A Call is one call of a method. Its results but for the error are passed on for Service.Inspect.
type Call[F any] func(ctx context.Context, f F) (any, error)

// Method is the row of one method.
type Method[F any] struct {
	// Does says what calls of the method do when they succeed: Reads, Writes or WritesSilently.
	Does Effect

	One  Call[F] // succeeds
	Many Call[F] // succeeds with several of what the method is variadic in
	None Call[F] // succeeds with none of it, and does nothing

	// Unknown asks for what is not there, and does nothing. Its error is UnknownIs; nil: what is not there is passed over.
	Unknown   Call[F]
	UnknownIs error

	// Bad is refused with BadIs and does nothing, although all but one of what it asks for could be done if it asks for
	// several.
	Bad   Call[F]
	BadIs error

	// Without says why Unknown or Bad is missing.
	Without string
}

// Effect is what a call does to the tables.
type Effect int

// The effects. A write is announced by events unless it is silent.
const (
	Reads Effect = iota + 1
	Writes
	WritesSilently
)

// Test tries every method on every database: with one, many, none, unknown, one bad among good; on a cancelled context,
// and on one that is cancelled when the write is about to be committed; with an event that cannot be recorded; inside a
// transaction that is rolled back. Whatever fails leaves every table as it was, announces nothing, and succeeds when it
// is tried again.
func (s Service[F]) Test(t *testing.T, service any) {
	for _, problem := range s.check(reflect.TypeOf(service)) {
		t.Error(problem)
	}
	// Those that only read come first: they leave what they were given as it was, for the next.
	names := slices.SortedFunc(maps.Keys(s.Methods), func(a, b string) int {
		return cmp.Or(cmp.Compare(s.Methods[a].Does, s.Methods[b].Does), cmp.Compare(a, b))
	})
	Each(t, func(t *testing.T, at Database) {
		x := &trial[F]{service: s, db: at.Open(t, s.Migrations...), used: true}
		for _, name := range names {
			t.Run(name, func(t *testing.T) {
				x.name, x.method = name, s.Methods[name]
				if m, ok := reflect.TypeOf(service).MethodByName(name); ok {
					x.stoppable = m.Type.NumIn() > 1 && m.Type.In(1) == reflect.TypeFor[context.Context]()
				}
				x.run(t)
			})
		}
	})
}

// check says what the table lacks.
func (s Service[F]) check(service reflect.Type) (problems []string) {
	complain := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	there := map[string]bool{}
	for m := range service.Methods() {
		there[m.Name] = true
		row, ok := s.Methods[m.Name]
		switch {
		case !ok && s.Untested[m.Name] == "":
			complain("%s has no row: add one to Methods, or say in Untested why it needs none", m.Name)
			continue
		case !ok:
			continue
		case s.Untested[m.Name] != "":
			complain("%s has a row and is in Untested", m.Name)
		}
		if row.One == nil || row.Does == 0 {
			complain("%s: its row needs Does and One", m.Name)
		}
		if m.Type.IsVariadic() && (row.Many == nil || row.None == nil) {
			complain("%s is variadic: its row needs Many and None", m.Name)
		}
		if row.Bad != nil && row.BadIs == nil {
			complain("%s: its row needs BadIs", m.Name)
		}
		if (row.Unknown == nil || row.Bad == nil) && row.Without == "" {
			complain("%s: its row needs Unknown and Bad, or Without that says why there is nothing of the kind", m.Name)
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(s.Methods)), slices.Collect(maps.Keys(s.Untested))) {
		if !there[name] {
			complain("there is no method %s: take its row away", name)
		}
	}
	slices.Sort(problems)
	return problems
}

// A trial is that of one method after the other on one database.
type trial[F any] struct {
	service Service[F]
	db      *database.DB

	name      string
	method    Method[F]
	stoppable bool // it takes a context

	events *announcements
	f      F
	was    map[string][]string // the tables as they were made
	used   bool                // and are no more
}

var errLost = errors.New("the event cannot be recorded")

func (x *trial[F]) run(t *testing.T) {
	m := x.method
	x.begin(t)
	if m.None != nil {
		x.doesNothing(t, "none", m.None, nil)
	}
	if m.Unknown != nil {
		x.doesNothing(t, "unknown", m.Unknown, m.UnknownIs)
	}
	if m.Bad != nil {
		x.doesNothing(t, "bad", m.Bad, m.BadIs)
	}
	if x.stoppable {
		x.doesNothing(t, "cancelled", func(_ context.Context, f F) (any, error) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			return m.One(ctx, f)
		}, context.Canceled)
	}
	if m.Does == Writes {
		x.doesNothing(t, "event lost", func(ctx context.Context, f F) (any, error) {
			x.events.upon(func() error { return errLost })
			return m.One(ctx, f)
		}, errLost)
		x.doesNothing(t, "cancelled before the commit", func(ctx context.Context, f F) (any, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			x.events.upon(func() error { cancel(); return nil })
			return m.One(ctx, f)
		}, context.Canceled)
	}
	if m.Does != Reads {
		undone := errors.New("undone")
		x.doesNothing(t, "undone", func(ctx context.Context, f F) (any, error) {
			return nil, x.db.InTx(ctx, func(ctx context.Context) error {
				if _, err := m.One(ctx, f); err != nil {
					return err
				}
				return undone
			})
		}, undone)
	}
	x.succeeds(t, "one", m.One)
	if m.Many != nil {
		x.begin(t)
		x.succeeds(t, "many", m.Many)
	}
}

// begin makes everything anew if need be.
func (x *trial[F]) begin(t *testing.T) {
	t.Helper()
	if !x.used {
		return
	}
	Empty(t, x.db)
	x.events = &announcements{db: x.db}
	x.f = x.service.New(t, x.db, x.events)
	x.events.take()
	x.was, x.used = x.dump(t), false
}

// wrote reports whether the tables have changed.
func (x *trial[F]) wrote(t *testing.T) bool {
	t.Helper()
	now := x.dump(t)
	x.used = x.used || !maps.EqualFunc(now, x.was, slices.Equal)
	return x.used
}

// dump is what the tables hold that are compared.
func (x *trial[F]) dump(t *testing.T) map[string][]string {
	t.Helper()
	tables := Dump(t, x.db)
	for _, table := range x.service.Beside {
		delete(tables, table)
	}
	return tables
}

// doesNothing holds a call to the error, and to have done nothing.
func (x *trial[F]) doesNothing(t *testing.T, what string, call Call[F], want error) {
	t.Helper()
	out, err := call(t.Context(), x.f)
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
	if x.wrote(t) {
		t.Errorf("%s: it has written: the tables hold\n%v, want\n%v", what, x.dump(t), x.was)
	}
	if said := x.events.take(); len(said) > 0 {
		t.Errorf("%s: it has announced %+v", what, said)
	}
	x.inspect(t, out)
}

// succeeds holds a call to have done what the method does.
func (x *trial[F]) succeeds(t *testing.T, what string, call Call[F]) {
	t.Helper()
	out, err := call(t.Context(), x.f)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if wrote := x.wrote(t); wrote != (x.method.Does != Reads) {
		t.Errorf("%s: it has written: %t, want %t", what, wrote, !wrote)
	}
	said := x.events.take()
	if (len(said) > 0) != (x.method.Does == Writes) {
		t.Errorf("%s: it has announced %+v", what, said)
	}
	x.inspect(t, out)
	for _, e := range said {
		x.inspect(t, e)
	}
}

func (x *trial[F]) inspect(t *testing.T, out any) {
	t.Helper()
	if x.service.Inspect != nil && out != nil {
		x.service.Inspect(t, x.f, x.name, out)
	}
}

// announcements are the events of transactions that committed.
type announcements struct {
	db   *database.DB
	mu   sync.Mutex
	said []event.Event
	hook func() error
}

// upon lets f happen when the next event is emitted. Its error is the emitter's.
func (a *announcements) upon(f func() error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hook = f
}

// Emit is the emitter's.
func (a *announcements) Emit(ctx context.Context, events ...event.Event) error {
	if _, ok := a.db.Conn(ctx).(bun.Tx); !ok {
		return fmt.Errorf("databasetest: %+v is emitted outside the transaction of the change", events)
	}
	a.mu.Lock()
	hook := a.hook
	a.hook = nil
	a.mu.Unlock()
	if hook != nil {
		if err := hook(); err != nil {
			return err
		}
	}
	return a.db.AfterCommit(ctx, func(context.Context) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.said = append(a.said, events...)
	})
}

// take returns what was announced since it was last taken.
func (a *announcements) take() []event.Event {
	a.mu.Lock()
	defer a.mu.Unlock()
	said := a.said
	a.said, a.hook = nil, nil
	return said
}
