package config

import "github.com/cohortd/cohort/gateway"

const (
	mostHeader = 1 << 20
	mostBody   = 1 << 40
)

// setListen leaves it to the gateway to judge the address.
func (r *reader) setListen(e entry) error {
	r.config.Gateway.Listen = append(r.config.Gateway.Listen, gateway.Listen{Addr: e.value, Where: e.place.String()})
	return nil
}
