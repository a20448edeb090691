package database

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

const maxRetries = 5

// retryable reports whether err is the database giving up one transaction in favour of another, so that the same
// again may well succeed. The drivers' errors are known by their methods, so that none is linked here.
func retryable(err error) bool {
	var postgres interface{ SQLState() string }
	if errors.As(err, &postgres) {
		switch postgres.SQLState() {
		case "40001", "40P01": // serialization failure, deadlock
			return true
		}
	}
	var sqlite interface{ Code() int }
	if errors.As(err, &sqlite) {
		switch sqlite.Code() & 0xff { // without what extended codes add
		case 5, 6: // SQLITE_BUSY, SQLITE_LOCKED
			return true
		}
	}
	return false
}

// hinted adds to the error of a statement whose table there is not what has most likely been forgotten.
func hinted(err error) error {
	var postgres interface{ SQLState() string }
	var sqlite interface{ Code() int }
	if errors.As(err, &postgres) && postgres.SQLState() == "42P01" || errors.As(err, &sqlite) && strings.Contains(err.Error(), "no such table") {
		return fmt.Errorf("%w; is the database migrated? db.Migrate takes the Migrations() of every module there is", err)
	}
	return err
}

// pause waits before the next attempt, a little longer and less predictably each time. It reports false if ctx is over.
func pause(ctx context.Context, attempt int) bool {
	most := 10 * time.Millisecond << attempt
	timer := time.NewTimer(rand.N(most) + time.Millisecond) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
