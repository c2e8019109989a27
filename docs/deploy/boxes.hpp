// What every C++ program here does beside the network: read the contract and a picture, prepare it, choose boxes.
// C++17 and its standard library alone. Pictures are binary PPM files (P6); read_ppm is the place for another reader.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

constexpr float SCORE = 0.3f;  // smallest score, as nas predict has it

struct Picture { int height, width; std::vector<uint8_t> rgb; };
struct Box { float x1, y1, x2, y2, score; int label; };
struct Placed { double scale_x, scale_y; int left, top; };  // where a picture lies in the input
using Outputs = std::map<std::string, std::vector<float>>;  // those of one image, row by row

// The contract that nas export wrote beside an exported file. A section is found by its first `"name": {`: no text can
// hold that, because the quotation marks inside a JSON text are escaped.
class Contract {
    std::string text;

    size_t at(const std::string& section, const std::string& key) const {
        const size_t start = section.empty() ? 0 : text.find("\"" + section + "\": {");
        const size_t found = start == std::string::npos ? start : text.find("\"" + key + "\": ", start);
        if (found == std::string::npos) throw std::runtime_error("the contract has no " + section + " " + key);
        return found + key.size() + 4;
    }

  public:
    explicit Contract(const std::string& file) {
        std::ifstream stream(file + ".json");
        if (!stream) throw std::runtime_error(file + ".json is missing");
        text.assign(std::istreambuf_iterator<char>(stream), {});
        if (text.find("\n  \"layout\":") != std::string::npos)
            throw std::runtime_error("these programs read files of --layout nas, the default of nas export");
    }
    bool is(const std::string& section, const std::string& key, const std::string& value) const {
        return text.compare(at(section, key), value.size(), value) == 0;
    }
    double number(const std::string& section, const std::string& key, double if_null = 0) const {
        return is(section, key, "null") ? if_null : std::stod(text.substr(at(section, key), 40));
    }
    std::array<float, 3> three(const std::string& section, const std::string& key) const {
        std::array<float, 3> values{};
        size_t from = at(section, key) + 1;
        for (float& value : values) {
            value = std::stof(text.substr(from, 40));
            from = text.find(',', from) + 1;
        }
        return values;
    }
    std::vector<std::string> class_names() const {
        std::vector<std::string> names;
        for (size_t i = at("", "class_names") + 1; text[i] != ']'; ++i) {
            if (text[i] != '"') continue;
            std::string name;
            for (++i; text[i] != '"'; ++i) {
                if (text[i] == '\\' && text[i + 1] == 'u') {  // \u00e9, written as UTF-8
                    const int code = std::stoi(text.substr(i + 2, 4), nullptr, 16);
                    if (code >= 0x800) name += char(0xE0 | code >> 12);
                    if (code >= 0x80) name += char(code >= 0x800 ? 0x80 | (code >> 6 & 0x3F) : 0xC0 | code >> 6);
                    name += char(code >= 0x80 ? 0x80 | (code & 0x3F) : code);
                    i += 5;
                } else {
                    name += text[i] == '\\' ? text[++i] : text[i];
                }
            }
            names.push_back(name);
        }
        return names;
    }
};

inline Picture read_ppm(const std::string& file) {
    std::ifstream stream(file, std::ios::binary);
    std::string magic;
    int width = 0, height = 0, most = 0;
    stream >> magic >> width >> height >> most;
    stream.get();
    if (magic != "P6" || most != 255 || width < 1 || height < 1) throw std::runtime_error(file + " is no PPM (P6)");
    std::vector<uint8_t> rgb(size_t(3) * width * height);
    if (!stream.read(reinterpret_cast<char*>(rgb.data()), long(rgb.size()))) throw std::runtime_error(file + " is cut");
    return {height, width, rgb};
}

// Weights of the source pixels of each of `size` pixels, bilinear between pixel centers.
struct Tap { int at; double weight; };
inline std::vector<std::vector<Tap>> taps(int source, int size, bool antialias) {
    const double scale = double(source) / size, reach = antialias ? std::max(scale, 1.0) : 1.0;
    std::vector<std::vector<Tap>> all(size);
    for (int i = 0; i < size; ++i) {
        const double center = (i + 0.5) * scale - 0.5;
        const int first = std::max(int(std::floor(center - reach)), 0);
        const int last = std::min(int(std::ceil(center + reach)), source - 1);
        double sum = 0;
        for (int j = first; j <= last; ++j) sum += std::max(1 - std::abs(j - center) / reach, 0.0);
        for (int j = first; j <= last; ++j) {
            const double weight = std::max(1 - std::abs(j - center) / reach, 0.0);
            if (weight > 0) all[i].push_back({j, weight / sum});
        }
    }
    return all;
}

// The input [3, h, w], and where the picture lies in it.
inline std::pair<std::vector<float>, Placed> prepared(const Picture& picture, const Contract& contract) {
    const int height = int(contract.number("input", "height")), width = int(contract.number("input", "width"));
    const int h = picture.height, w = picture.width;
    const bool stretch = contract.is("preprocess", "resize", "\"stretch\"");
    const bool center = contract.is("preprocess", "resize", "\"letterbox-center\"");
    const bool bgr = contract.is("preprocess", "order", "\"bgr\"");
    const bool antialias = contract.is("preprocess", "antialias", "true");
    int new_h = height, new_w = width, top = 0, left = 0;
    if (!stretch) {
        const double ratio = std::min(double(height) / h, double(width) / w);
        const auto whole = [&](double side) { return int(center ? std::nearbyint(side) : std::floor(side)); };
        new_h = std::min(std::max(whole(h * ratio), 1), height);
        new_w = std::min(std::max(whole(w * ratio), 1), width);
    }
    if (center) {
        top = std::max(int(std::nearbyint((height - new_h) / 2.0 - 0.1)), 0);
        left = std::max(int(std::nearbyint((width - new_w) / 2.0 - 0.1)), 0);
    }
    const auto rows = taps(h, new_h, antialias), columns = taps(w, new_w, antialias);
    std::vector<double> tall(size_t(3) * new_h * w, 0.0);
    for (int y = 0; y < new_h; ++y)
        for (const Tap& tap : rows[y])
            for (int i = 0; i < 3 * w; ++i)
                tall[size_t(3) * y * w + i] += tap.weight * picture.rgb[size_t(3) * tap.at * w + i];
    const float pad = float(contract.number("preprocess", "pad"));
    const float scale = float(contract.number("preprocess", "scale"));
    const auto mean = contract.three("preprocess", "mean"), std = contract.three("preprocess", "std");
    std::vector<float> image(size_t(3) * height * width);
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < height; ++y)
            for (int x = 0; x < width; ++x) {
                float grey = pad;
                if (y >= top && y < top + new_h && x >= left && x < left + new_w) {
                    double sum = 0;
                    for (const Tap& tap : columns[x - left])
                        sum += tap.weight * tall[size_t(3) * ((y - top) * w + tap.at) + (bgr ? 2 - c : c)];
                    grey = float(std::min(std::max(std::floor(sum + 0.5 + 1e-6), 0.0), 255.0));
                }
                image[(size_t(c) * height + y) * width + x] = (grey * scale - mean[c]) / std[c];
            }
    return {image, {double(new_w) / w, double(new_h) / h, left, top}};
}

inline float iou(const Box& a, const Box& b) {
    const auto area = [](const Box& box) { return std::max(box.x2 - box.x1, 0.f) * std::max(box.y2 - box.y1, 0.f); };
    const float w = std::min(a.x2, b.x2) - std::max(a.x1, b.x1), h = std::min(a.y2, b.y2) - std::max(a.y1, b.y1);
    const float common = std::max(w, 0.f) * std::max(h, 0.f);
    return common / std::max(area(a) + area(b) - common, std::numeric_limits<float>::min());
}

// The boxes of one image, best first, in pixels of the input.
inline std::vector<Box> chosen(const Outputs& outputs, const Contract& contract) {
    std::vector<Box> boxes;
    const auto better = [](const Box& a, const Box& b) { return a.score > b.score; };
    if (outputs.count("detections")) {  // the file chose them itself
        const auto& rows = outputs.at("detections");
        for (size_t i = 0; i + 6 <= rows.size(); i += 6)
            if (rows[i + 4] > SCORE)
                boxes.push_back({rows[i], rows[i + 1], rows[i + 2], rows[i + 3], rows[i + 4], int(rows[i + 5])});
        std::stable_sort(boxes.begin(), boxes.end(), better);
        return boxes;
    }
    const auto &sides = outputs.at("boxes"), &scores = outputs.at("scores");
    const size_t n = sides.size() / 4, classes = scores.size() / n;
    for (size_t i = 0; i < n; ++i) {
        const auto first = scores.begin() + long(i * classes), best = std::max_element(first, first + long(classes));
        const float* side = &sides[4 * i];
        if (*best > SCORE) boxes.push_back({side[0], side[1], side[2], side[3], *best, int(best - first)});
    }
    std::stable_sort(boxes.begin(), boxes.end(), better);
    constexpr double all = 1e9;
    boxes.resize(std::min(boxes.size(), size_t(contract.number("selection", "max_candidates", all))));
    const float threshold = float(contract.number("selection", "iou_threshold", 2));  // null: no suppression
    std::vector<Box> kept;
    for (const Box& box : boxes) {
        const auto over = [&](const Box& k) { return k.label == box.label && iou(k, box) > threshold; };
        if (std::none_of(kept.begin(), kept.end(), over)) kept.push_back(box);
    }
    kept.resize(std::min(kept.size(), size_t(contract.number("selection", "max_detections", all))));
    return kept;
}

// Print the objects in every picture; `run` takes an input [3, h, w] and gives the outputs by name.
inline int show(int count, char** words, const Contract& contract,
                const std::function<Outputs(std::vector<float>&)>& run) {
    const auto names = contract.class_names();
    for (int i = 2; i < count; ++i) {
        const Picture picture = read_ppm(words[i]);
        auto [image, placed] = prepared(picture, contract);
        for (const Box& box : chosen(run(image), contract)) {
            const auto x = [&, p = placed](float side) {
                return std::min(std::max((side - p.left) / p.scale_x, 0.0), double(picture.width)); };
            const auto y = [&, p = placed](float side) {
                return std::min(std::max((side - p.top) / p.scale_y, 0.0), double(picture.height)); };
            std::printf("%s\t%s\t%.4f\t%.2f\t%.2f\t%.2f\t%.2f\n", words[i], names.at(box.label).c_str(), box.score,
                        x(box.x1), y(box.y1), x(box.x2), y(box.y2));
        }
    }
    return 0;
}
