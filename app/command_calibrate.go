package app

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

const (
	maxTarget     = 2 * time.Second
	defaultTarget = 250 * time.Millisecond
)

// calibrate measures what hashing costs on this machine and says what to set. It needs no database.
func (m *command) calibrate(args []string) error {
	flags := m.flags("server calibrate")
	target := flags.Duration("target", defaultTarget, "how long a hash may take, at most 2s")
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 || *target <= 0 || *target > maxTarget {
		return fmt.Errorf("server calibrate takes --target, more than nothing and at most %v, and nothing else; %w", maxTarget, usageOf(flags))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	best, err := auth.Calibrate(ctx, *target)
	if err != nil {
		return fmt.Errorf("it was stopped: %w", err)
	}
	now := m.config.Auth.Password.BcryptCost
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "cost\ta hash takes\tsign-ins a second, each core\tall\t")
	for cost := min(best.Cost, max(now, auth.MinCalibrated)) - 1; cost <= max(best.Cost, min(now, auth.MaxCalibrated))+1; cost++ {
		c, mark := best.At(cost), ""
		switch {
		case cost == best.Cost && cost == now:
			mark = "proposed, and set"
		case cost == best.Cost:
			mark = "proposed"
		case cost == now:
			mark = "set"
		}
		fmt.Fprintf(table, "%d\t%v\t%.1f\t%.1f\t%s\n", cost, c.Took.Round(time.Millisecond), c.PerSecond()/float64(c.Cores), c.PerSecond(), mark)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(m.out, "\nMeasured on all %d cores at once at cost %d; the others are reckoned, each step is twice the time.\n", best.Cores, best.Cost)
	switch {
	case best.Took > *target:
		fmt.Fprintf(m.out, "No hash takes less than %v here, and a cheaper one is no protection: keep to cost %d, and give the server more cores.\n", *target, best.Cost)
	case best.Cost == now:
		fmt.Fprintf(m.out, "That is the highest cost within %v, and it is set already.\n", *target)
		return nil
	}
	fmt.Fprintf(m.out, "To set it: auth.password.bcrypt_cost: %d, or LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=%d. Hashes of before are made anew as people sign in.\n", best.Cost, best.Cost)
	return nil
}
