package secrettest

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// Log collects what a test has logged, and can be read while it is written. The zero value is ready.
type Log struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write takes what a program logs.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

// String is all that was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// Logger writes to the log.
func (l *Log) Logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Silent fails the test if the text holds one of the values as it is; empty ones are none.
func Silent(tb testing.TB, where, text string, about ...string) {
	tb.Helper()
	for _, value := range about {
		if value != "" && strings.Contains(text, value) {
			tb.Errorf("%s repeats %.12q…: %s", where, value, text)
		}
	}
}
