package config

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What is here sets one value; options that need more have a method of reader in the file of their part.

func ignore(entry) error { return nil }

func text(p *string) func(entry) error {
	return func(e entry) error {
		*p = e.value
		return nil
	}
}

// word takes what may become part of a path, a certificate and a line of a table.
func word(p *string) func(entry) error {
	return func(e entry) error {
		if !isName(e.value) || strings.Trim(e.value, ".") == "" {
			return fmt.Errorf("%q is no name: use letters, digits, and . - _ between them", e.value)
		}
		*p = e.value
		return nil
	}
}

// secret never repeats what it was given.
func secret(p *string) func(entry) error {
	return func(e entry) error {
		if err := checkSecret(e.value); err != nil {
			return err
		}
		*p = e.value
		return nil
	}
}

func checkSecret(value string) error {
	if reference, found := unresolved(value); found {
		return fmt.Errorf("nothing defines %s, and it is no secret itself", reference)
	}
	return nil
}

func address(p *string, emptyHost bool) func(entry) error {
	return func(e entry) error {
		if err := checkHostPort(e.value, emptyHost); err != nil {
			return err
		}
		*p = e.value
		return nil
	}
}

func count(p *int, least, most int) func(entry) error {
	return func(e entry) (err error) {
		*p, err = parseCount(e.value, least, most)
		return err
	}
}

func positive(p *time.Duration) func(entry) error {
	return func(e entry) error {
		d, err := parseTime(e.value)
		if err == nil && d == 0 {
			err = errors.New("a time of 0 makes no sense here")
		}
		*p = d
		return err
	}
}

func yes(p *bool) func(entry) error {
	return func(e entry) error {
		*p = parseFlag(e.value)
		return nil
	}
}

func size[T int | int64](p *T, most int) func(entry) error {
	return func(e entry) error {
		n, err := parseSize(e.value, most)
		*p = T(n)
		return err
	}
}

// choice takes one of two words and tells whether it was the second.
func choice(p *bool, no, yes string) func(entry) error {
	return func(e entry) error {
		if e.value != no && e.value != yes {
			return fmt.Errorf("%q is neither %s nor %s", e.value, no, yes)
		}
		*p = e.value == yes
		return nil
	}
}
