package databasetest

import (
	"context"
	"reflect"
	"slices"
	"testing"
)

type sample struct{}

func (sample) Known(context.Context)          {}
func (sample) Many(context.Context, ...int)   {}
func (sample) Registers(func())               {}
func (sample) Forgotten(context.Context, int) {}

func TestATableOfMethodsThatLacksSomethingIsRefused(t *testing.T) {
	call := func(context.Context, int) (any, error) { return nil, nil }
	whole := Method[int]{Does: Reads, One: call, Many: call, None: call, Unknown: call, Bad: call, BadIs: errLost}
	for name, c := range map[string]struct {
		methods  map[string]Method[int]
		untested map[string]string
		want     []string
	}{
		"whole": {map[string]Method[int]{"Known": whole, "Many": whole, "Forgotten": whole}, map[string]string{"Registers": "it only registers"}, nil},
		"a method without a row": {map[string]Method[int]{"Known": whole, "Many": whole}, map[string]string{"Registers": "it only registers"}, []string{
			"Forgotten has no row: add one to Methods, or say in Untested why it needs none",
		}},
		"rows without cases": {map[string]Method[int]{"Known": {}, "Many": {Does: Reads, One: call, Bad: call, Unknown: call}, "Forgotten": {Does: Reads, One: call}}, map[string]string{"Registers": "it only registers"}, []string{
			"Forgotten: its row needs Unknown and Bad, or Without that says why there is nothing of the kind",
			"Known: its row needs Does and One",
			"Known: its row needs Unknown and Bad, or Without that says why there is nothing of the kind",
			"Many is variadic: its row needs Many and None",
			"Many: its row needs BadIs",
		}},
		"rows of nothing": {map[string]Method[int]{"Known": whole, "Many": whole, "Forgotten": whole, "Gone": whole}, map[string]string{"Registers": "it only registers", "Known": "both", "Went": "away"}, []string{
			"Known has a row and is in Untested", "there is no method Gone: take its row away", "there is no method Went: take its row away",
		}},
	} {
		got := Service[int]{Methods: c.methods, Untested: c.untested}.check(reflect.TypeFor[sample]())
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
