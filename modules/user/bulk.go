package user

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// BadItems is the error of a call with several items of which some cannot be done. It names each of these, and nothing was
// written. errors.Is finds the faults of all of them. A call with a single item fails with that item's own error instead.
//
//	if bad, ok := errors.AsType[*user.BadItems](err); ok {
//		for _, item := range bad.Items { … drafts[item.Index] … item.Err … }
//	}
type BadItems struct {
	Items []BadItem // in the order of the call; never empty
	Of    int       // how many items the call had
}

// BadItem is an item that cannot be done.
type BadItem struct {
	Index int   // its place in the call, from 0
	Err   error // why: a fault
}

// What BadItems.Error says at most; BadItems.Items has everything.
const (
	mostItems  = 10
	mostOfItem = 300 // bytes
)

// Error says what is wrong with the first few of the items.
func (e *BadItems) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "Nothing was written, because of %d of %d items:", len(e.Items), e.Of)
	for _, item := range e.Items[:min(len(e.Items), mostItems)] {
		says := item.Err.Error()
		if len(says) > mostOfItem {
			says = strings.ToValidUTF8(says[:mostOfItem], "") + "…"
		}
		fmt.Fprintf(&text, " [%d] %s", item.Index, says)
	}
	if more := len(e.Items) - mostItems; more > 0 {
		fmt.Fprintf(&text, " … and %d more", more)
	}
	return text.String()
}

// Unwrap returns the errors of the items.
func (e *BadItems) Unwrap() []error {
	errs := make([]error, len(e.Items))
	for i, item := range e.Items {
		errs[i] = item.Err
	}
	return errs
}

// As makes one fault of all for fault.Of: of the first one's kind and reason, with the text of Error.
func (e *BadItems) As(target any) bool {
	to, ok := target.(**fault.Error)
	if !ok {
		return false
	}
	first, ok := fault.Of(e.Items[0].Err)
	if !ok {
		return false
	}
	all := *first
	all.Message = e.Error()
	*to = &all
	return true
}

// badItems collects what is wrong with the items of a call.
type badItems struct {
	of    int
	items []BadItem
}

// add notes why an item cannot be done. What is no fault is not the item's, and comes back: the call ends with it.
func (b *badItems) add(index int, err error) error {
	if fault.KindOf(err) == fault.Internal {
		return err
	}
	b.items = append(b.items, BadItem{index, err})
	return nil
}

// err is the error of the call, if there is one.
func (b *badItems) err() error {
	switch {
	case len(b.items) == 0:
		return nil
	case b.of == 1:
		return b.items[0].Err
	}
	items := slices.SortedFunc(slices.Values(b.items), func(x, y BadItem) int { return cmp.Compare(x.Index, y.Index) })
	return &BadItems{Items: items, Of: b.of}
}
