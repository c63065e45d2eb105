package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pluginNames are the plugins of uWSGI whose work is built in or will be: to name one changes nothing.
const pluginNames = `
airbrake alarm_curl alarm_speech alarm_xmpp cache carbon cgi cheaper_backlog2 cheaper_busyness clock_monotonic clock_realtime
corerouter cron curl_cron echo exception_log fastrouter fiber forkptyrouter geoip gevent graylog2 greenlet http ldap
legion_cache_fetch logcrypto logfile logpipe logsocket logzmq msgpack nagios notfound pam ping pty rawrouter redislog
router_access router_basicauth router_cache router_expires router_fcgi router_hash router_http router_memcached router_metrics
router_radius router_redirect router_redis router_rewrite router_spnego router_static router_uwsgi router_xmldir rpc rrdtool
rsyslog signal spooler ssi sslrouter stats_pusher_file stats_pusher_socket stats_pusher_statsd syslog systemd_logger
transformation_chunked transformation_gzip transformation_offload transformation_template transformation_tofile
transformation_toupper tuntap ugreen webdav xattr xslt zabbix zergpool`

// interpreterPlugins hold an interpreter or C code of the application. Their names may end with a version.
const interpreterPlugins = `
asyncio coroae cplusplus erlang gccgo go jvm jwsgi lua mono php psgi pyerl pypy python rack rbthreads ring ruby servlet
stackless symcall tornado v8`

// setPlugins accepts the plugins whose work is built in. uWSGI 2.0 only logs a plugin that it cannot find;
// here the node does not start, since rules and options would not mean what they say.
func setPlugins(e entry) error {
	names := strings.Fields(pluginNames)
	interpreters := strings.Fields(interpreterPlugins)
	var errs []error
	for name := range strings.SplitSeq(e.value, ",") {
		name = strings.TrimSpace(name)
		if _, after, found := strings.Cut(name, ":"); found {
			name = after // uWSGI's MODIFIER:PLUGIN
		}
		if name == "" || slices.Contains(names, name) {
			continue
		}
		errs = append(errs, strangePlugin(name, names, interpreters))
	}
	return errors.Join(errs...)
}

func strangePlugin(name string, names, interpreters []string) error {
	near, found := nearest(name, names)
	switch {
	case slices.Contains(interpreters, strings.TrimRight(name, "0123456789.")):
		return fmt.Errorf("%q %s", name, known("module").why)
	case found:
		return fmt.Errorf("there is no plugin %q: did you mean %s?", name, near)
	case !isName(name):
		return errors.New("plugins are named without path and ending, with commas between")
	}
	return fmt.Errorf("there is no plugin %q: all that cohort can do is built in, so leave it out", name)
}
