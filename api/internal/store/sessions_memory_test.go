package store

import (
	"errors"
	"testing"
)

// A session that is opened with an epoch from before a wipe would outlive it.
func TestNoSessionIsOpenedAcrossAWipe(t *testing.T) {
	m := newMemorySessions(newClock().Now)
	who := Person{"tenant", "ada"}
	before := m.wipes()
	m.endAll(1)
	if _, ok := m.open(who, Owner{1, 1}, before); ok {
		t.Error("opened with an epoch that may be an old one")
	}
	opened, ok := m.open(who, Owner{1, 2}, m.wipes())
	if !ok {
		t.Fatal("not opened after the wipe")
	}
	m.endAll(1)
	if _, err := m.FindSession(t.Context(), opened.ID); !errors.Is(err, ErrNoSession) {
		t.Errorf("it outlived the wipe: %v", err)
	}
	if len(m.byOwner) != 0 || m.inOrder.Len() != 0 {
		t.Errorf("%d owners and %d sessions are left", len(m.byOwner), m.inOrder.Len())
	}
}
