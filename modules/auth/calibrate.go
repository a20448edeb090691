package auth

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Calibration says what hashing costs on this machine.
type Calibration struct {
	Cost  int           // the highest that keeps to the target, from MinCalibrated to MaxCalibrated
	Took  time.Duration // by a hash of the cost, while every core computes one
	Cores int
}

// The costs that are proposed: less is too cheap whatever the machine, and more no machine computes in a second.
const (
	MinCalibrated = 10
	MaxCalibrated = 16
)

// PerSecond is how many hashes all cores make in a second, and so how many can sign in.
func (c Calibration) PerSecond() float64 {
	return float64(c.Cores) * float64(time.Second) / float64(c.Took)
}

// At is the calibration of another cost: each step doubles the time.
func (c Calibration) At(cost int) Calibration {
	took := float64(c.Took)
	for ; c.Cost < cost; c.Cost++ {
		took *= 2
	}
	for ; c.Cost > cost; c.Cost-- {
		took /= 2
	}
	c.Took = time.Duration(took)
	return c
}

// Calibrate finds the highest bcrypt cost of which a hash takes no longer than the target while all cores are hashing, as
// they do when many people sign in. It hashes for two or three seconds, and for as long as eight hashes of the target take
// at most, on every core.
func Calibrate(ctx context.Context, target time.Duration) (Calibration, error) {
	if target <= 0 {
		return Calibration{}, fmt.Errorf("auth: a target of %v is none", target)
	}
	const cheap, rounds = 8, 40
	c := Calibration{Cost: cheap, Cores: runtime.GOMAXPROCS(0)}
	var err error
	if c.Took, err = hashTime(ctx, c.Cores, cheap, rounds); err != nil {
		return Calibration{}, err
	}
	c = c.At(MinCalibrated)
	for c.Cost < MaxCalibrated && c.At(c.Cost+1).Took <= target {
		c = c.At(c.Cost + 1)
	}
	// What was reckoned from cheap hashes is measured, and corrected by a step if it was wrong.
	for {
		if c.Took, err = hashTime(ctx, c.Cores, c.Cost, 2); err != nil || c.Took <= target || c.Cost == MinCalibrated {
			return c, err
		}
		c.Cost--
	}
}

// hashTime is what a hash of the cost takes by the quickest of the rounds, on as many cores at once.
func hashTime(ctx context.Context, cores, cost, rounds int) (time.Duration, error) {
	decoy, password := assembleDecoy(cost), make([]byte, 64)
	times := make([]time.Duration, cores)
	var wg sync.WaitGroup
	for core := range times {
		wg.Go(func() {
			for range rounds {
				if ctx.Err() != nil {
					return
				}
				start := time.Now()
				_ = bcrypt.CompareHashAndPassword(decoy, password) // does not fit
				if took := time.Since(start); times[core] == 0 || took < times[core] {
					times[core] = took
				}
			}
		})
	}
	wg.Wait()
	var sum time.Duration
	for _, took := range times {
		sum += took
	}
	return max(1, sum/time.Duration(cores)), ctx.Err()
}
