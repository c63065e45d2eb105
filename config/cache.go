package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cohortd/cohort/cachefsm/cache"
)

// cacheKeys is what cache2 takes. A text says why a key of uWSGI's has no effect here.
var cacheKeys = []struct{ name, ignored string }{
	{name: "name"},
	{name: "items"},
	{name: "max_items"},
	{name: "maxitems"},
	{name: "blocksize"},
	{name: "keysize"},
	{name: "scope"},
	{name: "unavailable"},
	{name: "blocks", ignored: memoryKey},
	{name: "hash", ignored: memoryKey},
	{name: "hashsize", ignored: memoryKey},
	{name: "bitmap", ignored: memoryKey},
	{name: "lastmod", ignored: "cohort keeps no time of the last change"},
	{name: "store", ignored: "every cache is kept in the data directory, but for scope=node"},
	{name: "storesync", ignored: "every change is on disk before it is answered"},
	{name: "store_delete", ignored: "a file of uWSGI's is neither read nor deleted"},
	{name: "nodes", ignored: replicationKey},
	{name: "sync", ignored: replicationKey},
	{name: "udp", ignored: replicationKey},
	{name: "math_initial", ignored: "numbers start from 0"},
	{name: "ignore_full", ignored: fullKey},
	{name: "purge_lru", ignored: fullKey},
	{name: "lru", ignored: fullKey},
	{name: "sweep_on_full", ignored: fullKey},
	{name: "clear_on_full", ignored: fullKey},
	{name: "lazy_expire", ignored: expiryKey},
	{name: "lazy", ignored: expiryKey},
	{name: "no_expire", ignored: expiryKey},
}

const (
	memoryKey      = "it lays out shared memory, which cohort does not use"
	replicationKey = "caches are replicated over the cluster by themselves"
	fullKey        = "a full cache refuses new items"
	expiryKey      = "an item is gone when its time is over, and never seen again"
)

func (r *reader) setCache(e entry) error {
	pairs, err := parsePairs(e.value)
	if err != nil {
		return err
	}
	spec := cache.Spec{BlockSize: cache.DefaultBlockSize, KeySize: cache.DefaultKeySize}
	var errs []error
	for _, p := range pairs {
		errs = append(errs, r.setCacheKey(&spec, e, p))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	switch {
	case spec.Name == "":
		return errors.New("name= is missing: write name=NAME,items=N")
	case spec.Items == 0:
		return errors.New("items= is missing: write name=NAME,items=N")
	case slices.ContainsFunc(r.config.Caches, func(c cache.Spec) bool { return c.Name == spec.Name }):
		return fmt.Errorf("there is a cache %q already", spec.Name)
	}
	r.config.Caches = append(r.config.Caches, spec)
	return spec.Check()
}

func (r *reader) setCacheKey(spec *cache.Spec, e entry, p pair) (err error) {
	switch p.key {
	case "name":
		err = word(&spec.Name)(entry{value: p.value})
	case "items", "max_items", "maxitems":
		spec.Items, err = parseCount(p.value, 1, cache.MaxItems)
	case "blocksize":
		spec.BlockSize, err = parseSize(p.value, cache.MaxBlockSize)
	case "keysize":
		spec.KeySize, err = parseSize(p.value, cache.MaxKeySize)
	case "scope":
		err = choice(&spec.Node, "cluster", "node")(entry{value: p.value})
	case "unavailable":
		err = choice(&spec.Open, "closed", "open")(entry{value: p.value})
	default:
		return r.otherCacheKey(e, p.key)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.key, err)
	}
	return nil
}

func (r *reader) otherCacheKey(e entry, key string) error {
	names := make([]string, 0, len(cacheKeys))
	for _, k := range cacheKeys {
		if k.name == key {
			r.noticeOnce("cache2 "+key, e.place, "cache2: %s has no effect: %s", key, k.ignored)
			return nil
		}
		names = append(names, k.name)
	}
	if near, found := nearest(key, names); found {
		return fmt.Errorf("%s is no key of a cache: did you mean %s?", quoteName(key), near)
	}
	return fmt.Errorf("%s is no key of a cache: there are name, items, blocksize, keysize, scope and unavailable", quoteName(key))
}
