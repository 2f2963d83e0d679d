// The commands below `registry`. Their options are their own: they speak to PostgreSQL and to no server.
#pragma once

#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace sallyport {

// `chosen` is set by the one that was given; `json` and `yes` outlive what it runs.
void add_registry_commands(CLI::App& app, const std::string& default_config, const std::string& output,
                           std::function<int()>& chosen);

// Of a list: what is seen at another node of a shared registry, or at all of them, which is "*".
void add_node_options(CLI::App& list, std::string& node);

}  // namespace sallyport
